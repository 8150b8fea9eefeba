import { expect, it } from "vitest";
import { type Formula, Growing, parse, type Token } from "../src/markdown/parse";

const TEXT = `# A title

A paragraph with **bold**, \`code\`, a [link](https://example.org) and $a_1 + b$.

- one
  - nested
- two

1. first

   with a paragraph
2. second

| a | b |
| --- | --: |
| 1 | 2 |

\`\`\`python
def f():

    return "*"
\`\`\`

> quoted
> more

$$
\\int_0^1 x \\, dx
$$

Title
---

The end, with [a reference][r].

[r]: https://example.org/late
`;

function shape(tokens: readonly Token[]): string[] {
  return tokens.filter(({ type }) => type !== "def").map(({ type, raw }) => `${type} ${raw.trim()}`);
}

it("reads a growing text as it reads the whole one", () => {
  const growing = new Growing();
  for (let end = 1; end <= TEXT.length; end++) growing.update(TEXT.slice(0, end));
  expect(shape(growing.update(TEXT))).toEqual(shape(parse(TEXT)));
});

it("never takes back a block that another one follows", () => {
  const growing = new Growing();
  let before: string[] = [];
  for (let end = 1; end <= TEXT.length; end++) {
    const now = shape(growing.update(TEXT.slice(0, end)));
    const settled = before.slice(0, -1);
    expect(now.slice(0, settled.length), JSON.stringify(TEXT.slice(Math.max(0, end - 20), end))).toEqual(settled);
    before = now;
  }
});

it("keeps the kind of the last block while it grows", () => {
  for (const [text, kind] of [
    ["| a | b |\n| --- | --- |\n| 1 | 2 |", "table"],
    ["- one\n- two\n  - three", "list"],
    ["```js\nconst a = `b`;\n```", "code"],
  ] as const) {
    const growing = new Growing();
    for (let end = 5; end <= text.length; end++) {
      expect(growing.update(text.slice(0, end)).map(({ type }) => type), text.slice(0, end)).toEqual([kind]);
    }
  }
});

it("begins again with another text", () => {
  const growing = new Growing();
  growing.update("one\n\ntwo\n\nthree");
  expect(shape(growing.update("other"))).toEqual(["paragraph other"]);
});

function formulas(text: string): [string, boolean][] {
  const found: [string, boolean][] = [];
  const walk = (tokens: readonly Token[]): void => {
    for (const token of tokens) {
      if (token.type === "formula") found.push([(token as unknown as Formula).tex, (token as unknown as Formula).display]);
      if ("tokens" in token && token.tokens) walk(token.tokens);
    }
  };
  walk(parse(text));
  return found;
}

it.each<[string, [string, boolean][]]>([
  ["$$x^2$$", [["x^2", true]]],
  ["\\[x^2\\]", [["x^2", true]]],
  ["so \\(x_1\\) and $y_2$.", [["x_1", false], ["y_2", false]]],
  ["in $$a+b$$ line", [["a+b", true]]],
  ["costs $5 or $6", []],
  ["from $5-$6", []],
  ["a $ b $ c", []],
  ["`$x$` is code", []],
  ["```\n$$x$$\n```", []],
  ["\\$x\\$", []],
])("finds the formulas of %j", (text, expected) => {
  expect(formulas(text)).toEqual(expected);
});

it("does the same work for each word of a long text", () => {
  const growing = new Growing();
  const paragraph = "Water runs down the race and turns the wheel, **all** day long.\n\n";
  let text = "";
  for (let count = 0; count < 2000; count++) {
    text += paragraph;
    growing.update(text);
    expect(growing.open).toBeLessThanOrEqual(2 * paragraph.length);
  }
});
