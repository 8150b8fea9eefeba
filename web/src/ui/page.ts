// What is open on the page, and short notes to the person.

import { computed, signal } from "@preact/signals";
import type { Shelf } from "../storage";

export type DialogName = "settings" | "shortcuts" | "sign-out";
export type Route = { readonly view: "chat"; readonly id: string | null } | { readonly view: "operate" };

export interface Note {
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const NOTE_STAYS = 8_000;

export class Page {
  readonly dialog = signal<DialogName | null>(null);
  readonly note = signal<Note | null>(null);
  readonly hash = signal(location.hash);
  readonly route = computed<Route>(() => routeOf(this.hash.value));
  readonly sidebar = signal(false);
  readonly singleKeys = signal(true);
  /** Moves the keyboard's focus; set by who owns the place. */
  focusComposer: () => void = () => undefined;
  focusSearch: () => void = () => undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly device: Shelf) {
    this.sidebar.value = !isNarrow() && device.read("sidebar") !== "hidden";
    this.singleKeys.value = device.read("single-keys") !== "off";
    addEventListener("hashchange", () => (this.hash.value = location.hash));
  }

  go(hash: string, replace = false): void {
    if (replace) history.replaceState(null, "", hash === "" ? location.pathname + location.search : hash);
    else location.hash = hash;
    this.hash.value = hash;
  }

  toggleSidebar(shown = !this.sidebar.value): void {
    this.sidebar.value = shown;
    if (!isNarrow()) this.device.write("sidebar", shown ? "" : "hidden");
  }

  /** On a narrow page the list lies over everything else. */
  chosen(): void {
    if (isNarrow()) this.sidebar.value = false;
  }

  setSingleKeys(on: boolean): void {
    this.singleKeys.value = on;
    this.device.write("single-keys", on ? "" : "off");
  }

  say(text: string, action?: Note["action"]): void {
    clearTimeout(this.#timer);
    this.note.value = action ? { text, action } : { text };
    this.#timer = setTimeout(() => (this.note.value = null), NOTE_STAYS);
  }

  quiet(): void {
    clearTimeout(this.#timer);
    this.note.value = null;
  }
}

export function isNarrow(): boolean {
  return matchMedia("(max-width: 48rem)").matches;
}

export function routeOf(hash: string): Route {
  if (hash === "#/operate") return { view: "operate" };
  const id = /^#\/c\/([0-9a-f]+)$/.exec(hash)?.[1];
  return { view: "chat", id: id ?? null };
}
