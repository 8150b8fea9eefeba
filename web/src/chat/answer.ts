// One answer on its way: pieces in, what is to be shown out, at most once a frame.

import { type Piece, type Question, streamChat } from "../api/chat";
import type { Client } from "../api/client";
import { Stopwatch } from "./numbers";
import type { Message, MessageState } from "./tree";

/** How an answer stands. */
export type Live = Pick<Message, "text" | "reasoning" | "numbers"> & { readonly id: string; readonly state: MessageState };

export type Frames = (run: () => void) => void;

/** Once a frame; frames stand still in the background, so there a timer does it. */
export const onFrame: Frames = (run) => {
  if (document.hidden) setTimeout(run, 250);
  else requestAnimationFrame(run);
};

export class Answer {
  #live: Live;
  #drawing = false;
  #ended = false;
  readonly #watch: Stopwatch;
  /** What was cut off the end of the text that is written on: the template of the model does that, too. */
  #swallow: boolean;

  constructor(
    begin: Live,
    private readonly draw: (live: Live) => void,
    private readonly frames: Frames,
    now: () => number,
  ) {
    this.#live = begin;
    this.#watch = new Stopwatch(now);
    this.#swallow = begin.text !== begin.text.trimEnd();
  }

  get live(): Live {
    return this.#live;
  }

  /** Takes the answer to its end. Throws what the stream throws; what came until then is in `live`. */
  async run(client: Client, question: Question, signal: AbortSignal): Promise<Live> {
    try {
      for await (const piece of streamChat(client, question, signal)) {
        this.#take(piece);
        if (!this.#drawing) this.#schedule();
      }
      return this.#live;
    } finally {
      this.#ended = true;
    }
  }

  #schedule(): void {
    this.#drawing = true;
    this.frames(() => {
      this.#drawing = false;
      if (!this.#ended) this.draw(this.#live);
    });
  }

  #take(piece: Piece): void {
    const { text, reasoning } = this.#live;
    switch (piece.kind) {
      case "begun":
        return this.#set({}, { queued: piece.queued, worker: piece.worker });
      case "text":
        this.#watch.word();
        return this.#set({ text: text + this.#joint(piece.text), state: "streaming" });
      case "reasoning":
        this.#watch.word();
        return this.#set({ reasoning: reasoning + piece.text, state: "streaming" });
      case "finish":
        return this.#set({ state: piece.reason === "length" ? "cut" : "done" });
      case "usage":
        return this.#set({}, { usage: piece.usage });
    }
  }

  #joint(text: string): string {
    if (!this.#swallow) return text;
    const rest = text.trimStart();
    this.#swallow = rest === "";
    return rest;
  }

  #set(fields: Partial<Live>, told: Partial<NonNullable<Live["numbers"]>> = {}): void {
    const before = this.#live.numbers ?? { usage: null, queued: null, worker: "", ttft: null, writing: 0 };
    const numbers = { ...before, ttft: this.#watch.ttft, writing: this.#watch.writing, ...told };
    this.#live = { ...this.#live, ...fields, numbers };
  }
}
