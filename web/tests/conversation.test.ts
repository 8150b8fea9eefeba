import { expect, it } from "vitest";
import { add, change, type Conversation, EMPTY, settled, thread, turns } from "../src/chat/conversation";

function talk(): Conversation {
  let conversation = add(EMPTY, null, { id: "q", role: "user", state: "done", text: "why?" }, 1);
  conversation = add(conversation, "q", { id: "a", role: "assistant", state: "done", text: "so" }, 2);
  return conversation;
}

it("is read from the first message to the leaf", () => {
  expect(thread(talk()).map(({ id }) => id)).toEqual(["q", "a"]);
  expect(thread(EMPTY)).toEqual([]);
});

it("keeps the earlier answer beside a new one", () => {
  const conversation = add(talk(), "q", { id: "b", role: "assistant", state: "done", text: "because" }, 3);
  expect(thread(conversation).map(({ id }) => id)).toEqual(["q", "b"]);
  expect(thread({ ...conversation, leaf: "a" }).map(({ id }) => id)).toEqual(["q", "a"]);
});

it("makes different ids", () => {
  let conversation = EMPTY;
  for (let count = 0; count < 100; count += 1) {
    conversation = add(conversation, conversation.leaf, { role: "user", state: "done" }, count);
  }
  expect(thread(conversation)).toHaveLength(100);
});

it("changes one message and leaves the old conversation as it was", () => {
  const before = talk();
  const after = change(before, "a", { text: "so it is" });
  expect(after.messages["a"]?.text).toBe("so it is");
  expect(before.messages["a"]?.text).toBe("so");
  expect(change(before, "none", { text: "x" })).toBe(before);
});

it("sends no answer that has no text", () => {
  const conversation = add(talk(), "a", { id: "c", role: "user", state: "done", text: "and?" }, 3);
  const failed = change(conversation, "a", { text: "", state: "failed" });
  expect(turns(conversation)).toEqual([
    { role: "user", content: "why?" },
    { role: "assistant", content: "so" },
    { role: "user", content: "and?" },
  ]);
  expect(turns(failed).map(({ role }) => role)).toEqual(["user", "user"]);
});

it("marks what was on its way at a reload as broken off, with its text", () => {
  const { messages } = settled(change(talk(), "a", { state: "streaming" }));
  expect(messages["a"]).toMatchObject({ state: "failed", text: "so", failure: { kind: "interrupted" } });
  expect(messages["q"]?.state).toBe("done");
});

it("does not hang on a damaged tree", () => {
  const damaged = change(talk(), "q", { parent: "a" });
  expect(thread(damaged).length).toBeLessThan(5);
});
