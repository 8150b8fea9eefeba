import { expect, it } from "vitest";
import { Stopwatch, tokensPerSecond } from "../src/chat/numbers";

it("measures the first word and the writing", () => {
  let now = 100;
  const watch = new Stopwatch(() => now);
  expect(watch.ttft).toBeNull();
  now = 350;
  watch.word();
  now = 1350;
  watch.word();
  expect([watch.ttft, watch.writing]).toEqual([250, 1000]);
});

it("counts the tokens after the first one, and does not guess", () => {
  const numbers = { ttft: 1, queued: null, worker: "", writing: 1000, usage: { prompt: 5, completion: 11 } };
  expect(tokensPerSecond(numbers)).toBe(10);
  expect(tokensPerSecond({ ...numbers, usage: null })).toBeNull();
  expect(tokensPerSecond({ ...numbers, writing: 3 })).toBeNull();
  expect(tokensPerSecond({ ...numbers, usage: { prompt: 5, completion: 1 } })).toBeNull();
});
