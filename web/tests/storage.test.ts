import { expect, it } from "vitest";
import { Shelf } from "../src/storage";
import { Memory, shelf } from "./shelf";

it("keeps and forgets", () => {
  const memory = new Memory();
  const kept = shelf(memory);
  expect(kept.write("key", "hr-1")).toBe(true);
  expect(kept.read("key")).toBe("hr-1");
  kept.write("key", "");
  expect(kept.read("key")).toBeNull();
  expect(memory.length).toBe(0);
});

it("works on with a full or forbidden storage", () => {
  const memory = new Memory();
  memory.full = true;
  expect(shelf(memory).write("key", "hr-1")).toBe(false);
  const forbidden = new Shelf(() => {
    throw new DOMException("no", "SecurityError");
  });
  expect(forbidden.read("key")).toBeNull();
  expect(forbidden.write("key", "x")).toBe(false);
});
