import { describe, expect, it } from "vitest";
import { errorMessage, refused } from "../src/api/failure";

const NOW = Date.parse("2026-01-01T00:00:00Z");

function response(status: number, body = "", headers: Record<string, string> = {}): Response {
  return new Response(body, { status, headers });
}

describe("refused", () => {
  it.each([
    [400, "request"],
    [401, "key"],
    [403, "forbidden"],
    [404, "request"],
    [413, "request"],
    [429, "limit"],
    [500, "server"],
    [502, "server"],
    [503, "overloaded"],
  ] as const)("%i is %s", async (status, kind) => {
    expect((await refused(response(status), NOW)).failure.kind).toBe(kind);
  });

  it("keeps the server's own words", async () => {
    const body = JSON.stringify({ error: { message: "no such model", type: "invalid_request_error" } });
    expect((await refused(response(404, body), NOW)).failure.detail).toBe("no such model");
    expect((await refused(response(404, "<html>"), NOW)).failure.detail).toBe("404");
  });

  it.each([
    ["7", NOW + 7000],
    ["0", NOW],
    ["Thu, 01 Jan 2026 00:01:00 GMT", NOW + 60_000],
    ["soon", null],
    ["", null],
  ])("reads Retry-After: %s", async (value, expected) => {
    expect((await refused(response(429, "", { "retry-after": value }), NOW)).failure.retryAt).toBe(expected);
  });
});

it.each(["", "[]", "null", "3", '{"error": "x"}', '{"error": {"message": 3}}'])("%s is no error message", (text) => {
  expect(errorMessage(text)).toBeNull();
});
