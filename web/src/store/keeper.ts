// Writes what changes, one write at a time, and keeps what could not be written until it can.

import { signal } from "@preact/signals";
import type { Message } from "../chat/tree";
import type { Library } from "./library";
import type { Head } from "./records";

interface Pending {
  head: Head;
  readonly messages: Map<string, Message>;
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
    const pending = this.#pending.get(head.id) ?? { head, messages: new Map<string, Message>() };
    pending.head = head;
    for (const message of messages) pending.messages.set(message.id, message);
    this.#pending.set(head.id, pending);
    this.#working ??= this.#work().finally(() => (this.#working = null));
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
    const refused = new Map<string, Pending>();
    for (let next = this.#next(); next !== null; next = this.#next()) {
      const { head, messages } = next;
      this.#pending.delete(head.id);
      try {
        await this.library.save(head, [...messages.values()]);
        this.written(head.id);
      } catch {
        refused.set(head.id, next);
      }
    }
    for (const [id, { head, messages }] of refused) {
      const newer = this.#pending.get(id);
      this.#pending.set(id, {
        head: newer?.head ?? head,
        messages: new Map([...messages, ...(newer?.messages ?? [])]),
      });
    }
    this.full.value = refused.size > 0;
  }

  #next(): Pending | null {
    return this.#pending.values().next().value ?? null;
  }
}
