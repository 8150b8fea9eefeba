// Cuts a text into passages that an embedding model can read whole.

export interface Cut {
  /** Lines, from 1. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** Lines of the passage before that a passage begins with, so that nothing is cut from what explains it. */
const OVERLAP_LINES = 1;

/**
 * Passages of about `size` tokens at most, cut between lines, rather at an empty one. The first line of a table (CSV) heads
 * each of its passages. A line that is longer than a passage is cut into pieces.
 */
export function split(text: string, size: number, table: boolean): Cut[] {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const head = table ? (lines[0] ?? "") : "";
  const room = Math.max(16, size - estimate(head));
  const cuts: Cut[] = [];
  let from = table ? 1 : 0;
  while (from < lines.length) {
    let to = from;
    let used = 0;
    let pause = -1;
    while (to < lines.length && (to === from || used + estimate(lines[to] ?? "") <= room)) {
      used += estimate(lines[to] ?? "");
      if ((lines[to] ?? "").trim() === "" && used > room / 2) pause = to;
      to++;
    }
    if (to < lines.length && pause > from) to = pause + 1;
    push(cuts, lines.slice(from, to), from, head, room);
    from = to >= lines.length || to - from <= 2 * OVERLAP_LINES || table ? to : to - OVERLAP_LINES;
  }
  return cuts;
}

function push(cuts: Cut[], lines: readonly string[], from: number, head: string, room: number): void {
  const body = lines.join("\n");
  if (body.trim() === "") return;
  for (const piece of lines.length > 1 ? [body] : pieces(body, room)) {
    cuts.push({ from: from + 1, to: from + lines.length, text: head === "" ? piece.trim() : `${head}\n${piece.trim()}` });
  }
}

/** A line may be longer than a passage: minified code, a chapter without a line break. */
function pieces(text: string, room: number): string[] {
  if (estimate(text) <= room) return [text];
  const length = Math.max(1, Math.floor((text.length * room) / estimate(text)));
  const result: string[] = [];
  for (let at = 0; at < text.length; ) {
    const space = text.lastIndexOf(" ", at + length);
    const end = at + length < text.length && space > at + length / 2 ? space : at + length;
    result.push(text.slice(at, end));
    at = end;
  }
  return result;
}

/** Tokens, rather too many: about three letters a token, each sign of Chinese and the like is one. */
export function estimate(text: string): number {
  let wide = 0;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x2e7f) wide++;
  return Math.ceil((text.length - wide) / 2.8 + wide);
}
