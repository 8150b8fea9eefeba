// Markdown to tokens. Nothing here makes HTML: what is shown is built from tokens, so that a text can never become code.

import { Marked, type Token, type TokenizerAndRendererExtension, type Tokens } from "marked";
import { repaired } from "./repair";

export type { Token, Tokens };

/** A formula; `open` while its end has not come yet. */
export interface Formula {
  readonly type: "formula";
  readonly raw: string;
  readonly tex: string;
  readonly display: boolean;
}

// $$…$$ and \[…\] on lines of their own.
const BLOCK = /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n+|$)/;
// As pandoc has it, so that prices stay prices: no space inside the dollars, no digit after them.
const INLINE = /^(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d))/;

const blockFormula: TokenizerAndRendererExtension = {
  name: "formula",
  level: "block",
  start: (text) => firstOf(text, /(?:^|\n)(?:\$\$|\\\[)/),
  tokenizer(text) {
    const match = BLOCK.exec(text);
    return match === null ? undefined : formula(match[0], match[1] ?? match[2], true);
  },
};

const inlineFormula: TokenizerAndRendererExtension = {
  name: "inlineFormula",
  level: "inline",
  start: (text) => firstOf(text, /\$|\\\(|\\\[/),
  tokenizer(text) {
    const match = INLINE.exec(text);
    if (match === null) return undefined;
    return formula(match[0], match[1] ?? match[2] ?? match[3] ?? match[4], (match[1] ?? match[2]) !== undefined);
  },
};

function formula(raw: string, tex: string | undefined, display: boolean): Formula {
  return { type: "formula", raw, tex: (tex ?? "").trim(), display };
}

function firstOf(text: string, mark: RegExp): number | undefined {
  const at = text.search(mark);
  return at < 0 ? undefined : at;
}

const marked = new Marked({ gfm: true, extensions: [blockFormula, inlineFormula] });

export function parse(text: string): Token[] {
  return marked.lexer(text).filter((token) => token.type !== "space");
}

/**
 * The blocks of a text that grows at its end.
 *
 * A block that another one follows stays as it is, so only the last one is read again: the work for each new word does not
 * grow with the text. At the end everything is read once more, since a link's target may stand far below the link.
 */
export class Growing {
  #text = "";
  #settled: Token[] = [];
  #from = 0;

  /** Letters that the next word makes it read once more. */
  get open(): number {
    return this.#text.length - this.#from;
  }

  update(text: string): Token[] {
    if (!this.#goesOn(text)) {
      this.#settled = [];
      this.#from = 0;
    }
    this.#text = text;
    const tokens = marked.lexer(text.slice(this.#from));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    for (const token of tokens.slice(0, Math.max(0, last))) {
      this.#from += token.raw.length;
      if (token.type !== "space") this.#settled.push(token);
    }
    const rest = text.slice(this.#from);
    return rest === "" ? this.#settled : [...this.#settled, ...parse(repaired(rest))];
  }

  /** Whether the text is the one of before and more. Its end tells: to compare all of it would take longer each time. */
  #goesOn(text: string): boolean {
    const end = this.#text.length;
    return text.length >= end && text.slice(Math.max(0, end - 64), end) === this.#text.slice(-64);
  }
}
