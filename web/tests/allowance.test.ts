import { expect, it } from "vitest";
import { allowance, duration } from "../src/api/allowance";

it.each([
  ["12ms", 12],
  ["1.5s", 1500],
  ["6m0s", 360_000],
  ["1h0m1s", 3_601_000],
  ["", 0],
  ["soon", 0],
])("%s is %d ms", (text, expected) => {
  expect(duration(text)).toBe(expected);
});

it("tells what is left, and says nothing where there are no limits", () => {
  const headers = new Headers({
    "x-ratelimit-limit-tokens": "1000",
    "x-ratelimit-remaining-tokens": "250",
    "x-ratelimit-reset-tokens": "45s",
  });
  expect(allowance(headers, 1_000)).toEqual({
    requests: null,
    tokens: { limit: 1000, remaining: 250, fullAt: 46_000 },
  });
  expect(allowance(new Headers({ "x-ratelimit-limit-tokens": "many" }), 0)).toBeNull();
});
