import { expect, it } from "vitest";
import { fromJson } from "../src/config";

it("takes what is there and stands what is not", () => {
  expect(fromJson({ version: "1", api: "https://api.example", more: 1 })).toEqual({
    version: "1",
    api: "https://api.example",
  });
  for (const nothing of [null, {}, [], "x", { version: 3, api: null }]) {
    expect(fromJson(nothing)).toEqual({ version: "", api: "" });
  }
});
