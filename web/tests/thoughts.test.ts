import { expect, it } from "vitest";
import { Thoughts } from "../src/api/thoughts";

function read(text: string, size: number, fromBeginning = true): [string, string] {
  const thoughts = new Thoughts(fromBeginning);
  const said = { text: "", reasoning: "" };
  for (let at = 0; at < text.length; at += size) {
    for (const piece of thoughts.push(text.slice(at, at + size))) said[piece.kind] += piece.text;
  }
  for (const piece of thoughts.end()) said[piece.kind] += piece.text;
  return [said.reasoning, said.text];
}

it.each([
  ["<think>hm, well</think>\n\nYes.", "hm, well", "Yes."],
  ["  <think>a < b</think>x <think> y", "a < b", "x <think> y"],
  ["<think>never ends </thin", "never ends </thin", ""],
  ["<thin ice", "", "<thin ice"],
  ["<", "", "<"],
  ["Just text", "", "Just text"],
])("%s", (text, reasoning, said) => {
  for (const size of [1, 2, 3, 7, 100]) expect(read(text, size)).toEqual([reasoning, said]);
});

it("leaves what is written on as it is", () => {
  expect(read("<think>", 3, false)).toEqual(["", "<think>"]);
});
