// Engines without a reasoning parser send a model's thoughts in the text: <think>…</think> at its very beginning.

type Words = { readonly kind: "text" | "reasoning"; readonly text: string };

const OPEN = "<think>";
const CLOSE = "</think>";

/** Tells thoughts from text. Tags may come in pieces. */
export class Thoughts {
  #state: "start" | "thinking" | "after" | "text";
  #held = "";

  constructor(fromBeginning: boolean) {
    this.#state = fromBeginning ? "start" : "text";
  }

  *push(text: string): Generator<Words, void, void> {
    if (this.#state === "text") return yield { kind: "text", text };
    this.#held += text;
    if (this.#state === "start") {
      const begun = this.#held.trimStart();
      if (begun.length < OPEN.length && OPEN.startsWith(begun)) return;
      this.#state = begun.startsWith(OPEN) ? "thinking" : "text";
      if (this.#state === "thinking") this.#held = begun.slice(OPEN.length);
    }
    if (this.#state === "thinking") yield* this.#think();
    else yield* this.#say();
  }

  *end(): Generator<Words, void, void> {
    if (this.#held !== "") yield { kind: this.#state === "thinking" ? "reasoning" : "text", text: this.#held };
    this.#held = "";
  }

  *#think(): Generator<Words, void, void> {
    const end = this.#held.indexOf(CLOSE);
    const sure = end < 0 ? this.#held.length - overlap(this.#held, CLOSE) : end;
    if (sure > 0) yield { kind: "reasoning", text: this.#held.slice(0, sure) };
    this.#held = this.#held.slice(sure);
    if (end < 0) return;
    this.#held = this.#held.slice(CLOSE.length);
    this.#state = "after";
    yield* this.#say();
  }

  *#say(): Generator<Words, void, void> {
    if (this.#state === "after") this.#held = this.#held.trimStart();
    if (this.#held === "") return;
    this.#state = "text";
    yield { kind: "text", text: this.#held };
    this.#held = "";
  }
}

/** Length of the longest end of the text that may become the tag. */
function overlap(text: string, tag: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length--) {
    if (tag.startsWith(text.slice(-length))) return length;
  }
  return 0;
}
