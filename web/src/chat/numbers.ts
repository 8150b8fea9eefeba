// How long an answer took and what it used.

import type { Usage } from "../api/chat";

export interface Numbers {
  /** Milliseconds until the first word came. */
  readonly ttft: number | null;
  /** Milliseconds from the first word to the last one. */
  readonly writing: number;
  readonly usage: Usage | null;
  /** Milliseconds in the router's queue; told to administrators only. */
  readonly queued: number | null;
  readonly worker: string;
}

export class Stopwatch {
  #first: number | null = null;
  #last = 0;
  readonly #begun: number;

  constructor(private readonly now: () => number) {
    this.#begun = now();
  }

  word(): void {
    this.#last = this.now();
    this.#first ??= this.#last;
  }

  get ttft(): number | null {
    return this.#first === null ? null : this.#first - this.#begun;
  }

  get writing(): number {
    return this.#first === null ? 0 : this.#last - this.#first;
  }
}

/** Null where it was too short to be measured. The first token is waited for, not written. */
export function tokensPerSecond({ usage, writing }: Numbers): number | null {
  if (usage === null || usage.completion < 2 || writing < 50) return null;
  return ((usage.completion - 1) / writing) * 1000;
}
