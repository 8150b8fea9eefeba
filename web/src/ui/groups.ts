import type { Head } from "../store/records";

export type Group = "pinned" | "today" | "yesterday" | "week" | "older";

const DAY = 86_400_000;

/** Conversations by the day of their last word, in the order that they came in; without the groups that are empty. */
export function groups(heads: readonly Head[], now: number): [Group, Head[]][] {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const found = new Map<Group, Head[]>([
    ["pinned", []],
    ["today", []],
    ["yesterday", []],
    ["week", []],
    ["older", []],
  ]);
  for (const head of heads) found.get(groupOf(head, midnight))?.push(head);
  return [...found].filter(([, members]) => members.length > 0);
}

function groupOf({ pinned, updated }: Head, midnight: number): Group {
  if (pinned) return "pinned";
  if (updated >= midnight) return "today";
  if (updated >= midnight - DAY) return "yesterday";
  return updated >= midnight - 7 * DAY ? "week" : "older";
}
