// What is kept of a conversation.

import type { Parameters } from "../api/chat";
import type { Message } from "../chat/tree";

export interface Head {
  readonly id: string;
  readonly title: string;
  /** The person gave the title. */
  readonly named: boolean;
  readonly pinned: boolean;
  readonly created: number;
  readonly updated: number;
  readonly leaf: string | null;
  /** Empty: whichever is chosen for new conversations. */
  readonly model: string;
  readonly system: string;
  readonly parameters: Parameters;
}

/** A message as it lies in the database. */
export interface Row extends Message {
  readonly conversation: string;
}

/** A piece of a person's file and its embedding. */
export interface Passage {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  readonly vector: Float32Array;
}

export interface Document {
  readonly id: string;
  readonly conversation: string;
  readonly name: string;
  readonly size: number;
  /** The model that made the vectors. */
  readonly model: string;
  readonly passages: readonly Passage[];
}
