// A page that goes away has no time for IndexedDB. What an answer said since the last write is put where writing is done
// at once, and found there by the next page.

import type { Message } from "../chat/tree";
import type { Shelf } from "../storage";

interface Rescued {
  readonly conversation: string;
  readonly message: Message;
}

export function leave(shelf: Shelf, rescued: readonly Rescued[]): void {
  shelf.write("rescue", rescued.length === 0 ? "" : JSON.stringify(rescued));
}

/** What the page before left behind; it is there once. */
export function collect(shelf: Shelf): Rescued[] {
  const text = shelf.read("rescue");
  shelf.write("rescue", "");
  if (text === null) return [];
  try {
    const list = JSON.parse(text) as unknown;
    return Array.isArray(list) ? (list as Rescued[]) : [];
  } catch {
    return [];
  }
}
