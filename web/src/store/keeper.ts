// Writes what changes, one write at a time, and keeps what could not be written until it can.

import { signal } from "@preact/signals";
import type { Message } from "../chat/tree";
import type { Library } from "./library";
import type { Head } from "./records";

interface Pending {
  readonly head: Head;
  readonly messages: ReadonlyMap<string, Message>;
}

export class Keeper {
  /** The browser's storage is full, or refuses: what is new lasts as long as the page. */
  readonly full = signal(false);
  readonly #pending = new Map<string, Pending>();
  #working: Promise<void> | null = null;

  constructor(
    private readonly library: Library,
    private readonly written: (conversation: string) => void = () => undefined,
  ) {}

  save(head: Head, messages: readonly Message[] = []): void {
    this.#add({ head, messages: new Map(messages.map((message) => [message.id, message])) });
    this.#working ??= this.#work();
  }

  /** A conversation that was removed is not to come back by a late write. */
  drop(conversation: string): void {
    this.#pending.delete(conversation);
  }

  dropAll(): void {
    this.#pending.clear();
  }

  /** Resolves when everything that can be written is written. */
  async settled(): Promise<void> {
    while (this.#working) await this.#working;
  }

  async #work(): Promise<void> {
    await Promise.resolve(); // changes that are made together are written together
    const refused: Pending[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#pending.delete(next.head.id);
      try {
        await this.library.save(next.head, [...next.messages.values()]);
        this.written(next.head.id);
      } catch {
        refused.push(next);
      }
    }
    for (const old of refused.reverse()) this.#add(old, true);
    this.full.value = refused.length > 0;
    this.#working = null;
  }

  #next(): Pending | undefined {
    return this.#pending.values().next().value;
  }

  /** Puts what is to be written with what waits already; of two versions the newer one counts. */
  #add({ head, messages }: Pending, older = false): void {
    const waiting = this.#pending.get(head.id);
    if (waiting === undefined) this.#pending.set(head.id, { head, messages });
    else if (older) this.#pending.set(head.id, { head: waiting.head, messages: new Map([...messages, ...waiting.messages]) });
    else this.#pending.set(head.id, { head, messages: new Map([...waiting.messages, ...messages]) });
  }
}
