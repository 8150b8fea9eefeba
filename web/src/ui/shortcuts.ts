// The keyboard. Keys with a modifier work everywhere; single ones only where nothing is typed, and can be turned off
// (WCAG 2.1.4).

import type { Strings } from "../i18n/en";
import { strings } from "../i18n";
import type { AppState } from "./app-context";
import { copyText } from "./clipboard";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
export const COMMAND = MAC ? "⌘" : "Ctrl";

export const SHORTCUTS: readonly (readonly [keys: readonly string[], text: keyof Strings])[] = [
  [[COMMAND, "K"], "keySearch"],
  [[COMMAND, "Shift", "O"], "keyNew"],
  [[COMMAND, "Shift", "S"], "keySidebar"],
  [[COMMAND, "Shift", "L"], "keyCopyLast"],
  [[COMMAND, "Shift", "E"], "keySettings"],
  [["Esc"], "keyStop"],
  [["↑"], "keyEditLast"],
  [["/"], "keyCompose"],
  [["?"], "keyHelp"],
];

/** Listens until the returned function is called. */
export function listen(state: AppState): () => void {
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const run = (MAC ? event.metaKey : event.ctrlKey) ? withCommand(event, state) : alone(event, state);
    if (run === undefined) return;
    event.preventDefault();
    run();
  };
  document.addEventListener("keydown", onKeyDown);
  return () => document.removeEventListener("keydown", onKeyDown);
}

function withCommand(event: KeyboardEvent, { page, chat }: AppState): (() => void) | undefined {
  const key = event.key.toLowerCase();
  if (!event.shiftKey) {
    if (key !== "k") return undefined;
    return () => {
      page.toggleSidebar(true);
      requestAnimationFrame(() => page.focusSearch());
    };
  }
  switch (key) {
    case "o":
      return () => page.go("");
    case "s":
      return () => page.toggleSidebar();
    case "e":
      return () => (page.dialog.value = "settings");
    case "l": {
      const last = chat.current.value.thread.value.findLast(({ role }) => role === "assistant");
      if (last === undefined) return undefined;
      return () => void copyText(last.text).then((done) => done && page.say(strings.value.copied));
    }
    default:
      return undefined;
  }
}

function alone(event: KeyboardEvent, { page, chat }: AppState): (() => void) | undefined {
  if (event.altKey || event.metaKey || event.ctrlKey) return undefined;
  if (event.key === "Escape") return chat.current.value.running ? () => chat.current.value.stop() : undefined;
  if (!page.singleKeys.value || isTyping(event.target)) return undefined;
  if (event.key === "?") return () => (page.dialog.value = "shortcuts");
  if (event.key === "/") return () => page.focusComposer();
  return undefined;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
