// The last block of a text that is being written, completed to what it is going to be, so that nothing on the page jumps
// when its end comes: marks that are open are closed, and what may still become anything is held back.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** A line that may become a list item, a quote, a rule, a heading's underline or a table's. */
const UNDECIDED = /(?:^|\n)[ \t]*(?:[-*+=_#>]+|\d{1,9}[.)]?|\|[-:| \t]*)[ \t]*$/;

export function repaired(block: string): string {
  if (FENCE.test(block)) return closedFence(block);
  if (inFence(block)) return block;
  const table = completeTable(block);
  if (table !== null) return table;
  const text = block.replace(UNDECIDED, "");
  const cut = openFormula(text);
  return cut ?? closed(text);
}

/** marked takes a fence without an end for one that goes on to the end; only a half-written end must not be shown. */
function closedFence(block: string): string {
  const fence = FENCE.exec(block)?.[1] ?? "```";
  const end = block.lastIndexOf("\n");
  const last = block.slice(end + 1).trim();
  const half = end > 0 && last !== "" && fence.startsWith(last) && last.length < fence.length;
  return half ? block.slice(0, end) : block;
}

/** A list item may hold a fence. */
function inFence(block: string): boolean {
  let open = "";
  for (const line of block.split("\n")) {
    const mark = /^\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)?(`{3,}|~{3,})/.exec(line)?.[1];
    if (mark === undefined) continue;
    if (open === "") open = mark;
    else if (mark.startsWith(open)) open = "";
  }
  return open !== "";
}

/** A table's head is a table before the line below it has come. */
function completeTable(block: string): string | null {
  const [head = "", second = "", ...more] = block.split("\n");
  if (!head.trimStart().startsWith("|") || more.length > 0 || !/^[|\-: \t]*$/.test(second)) return null;
  if (head.trim() === "|") return "";
  const sides = cells(second);
  const rule = cells(head).map((_, index) => (/^:?-+:?$/.test(sides[index] ?? "") ? sides[index] : "---"));
  return `${head.trimEnd().replace(/\|?$/, "|")}\n| ${rule.join(" | ")} |`;
}

function cells(line: string): string[] {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()); // prettier-ignore
}

/** A formula without its end is shown when it is whole: half of one is an error at best. */
function openFormula(text: string): string | null {
  for (const [open, close] of [
    ["$$", "$$"],
    ["\\[", "\\]"],
    ["\\(", "\\)"],
  ] as const) {
    const at = text.lastIndexOf(open);
    if (at < 0) continue;
    const count = text.split(open).length - 1;
    const isOpen = open === close ? count % 2 === 1 : text.indexOf(close, at) < 0;
    if (isOpen && text[at - 1] !== "\\") return closed(text.slice(0, at));
  }
  return null;
}

/** Closes code, emphasis and strikes; a link without its end is its text, an image without its end is nothing. */
function closed(text: string): string {
  let line = text.replace(/!\[[^\]\n]*(?:\]\([^)\n]*)?$/, "").replace(/\[([^\]\n]*)(?:\](?:\([^)\n]*)?)?$/, unlinked);
  const open: string[] = [];
  const marks = /\\.|(`+)|(\*{1,3}|_{1,3}|~~)/g;
  marks.lastIndex = Math.max(0, line.lastIndexOf("\n\n"));
  let closedAt = -1;
  for (let match = marks.exec(line); match !== null; match = marks.exec(line)) {
    const [whole, code, mark] = match;
    if (code !== undefined) {
      const end = line.indexOf(code, match.index + code.length);
      if (end < 0) return line + (line.endsWith(code) ? "" : code) + open.reverse().join("");
      marks.lastIndex = end + code.length;
    } else if (mark !== undefined) {
      const after = match.index + whole.length;
      if (toggle(open, mark, line[match.index - 1] ?? " ", line[after] ?? " ")) closedAt = after;
    }
  }
  if (closedAt !== line.length) line = withoutHalf(line, open);
  const space = /\s*$/.exec(line)?.[0] ?? "";
  return open.length === 0 ? line : line.slice(0, line.length - space.length) + open.reverse().join("");
}

/** A mark at the end that begins something, or is the first half of what ends it, says nothing yet. */
function withoutHalf(line: string, open: readonly string[]): string {
  const end = /(?:\*{1,3}|_{1,3}|~{1,2})$/.exec(line)?.[0] ?? "";
  const before = line[line.length - end.length - 1] ?? " ";
  const half = /\s/.test(before) || open.some((mark) => mark !== end && mark.startsWith(end));
  return end !== "" && half ? line.slice(0, -end.length) : line;
}

/** Whether the mark closes what is open. */
function toggle(open: string[], mark: string, before: string, after: string): boolean {
  if (open.at(-1) === mark && /\S/.test(before)) return open.pop() !== undefined;
  if (/\S/.test(after) && !(mark.startsWith("_") && /\w/.test(before))) open.push(mark);
  return false;
}

function unlinked(whole: string, text: string, at: number, all: string): string {
  // A task list's box, a footnote or a citation is no link.
  if (/^[ xX]?$/.test(text) && /(?:^|\n)\s*[-*+]\s$/.test(all.slice(0, at))) return whole;
  return whole.includes("](") || !whole.endsWith("]") ? text : whole;
}
