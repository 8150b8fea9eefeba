import { expect, it } from "vitest";
import {
  change,
  children,
  type Message,
  message,
  newestLeaf,
  settled,
  thread,
  type Tree,
  turns,
  withMessage,
} from "../src/chat/tree";

function add(tree: Tree, id: string, parent: string | null, role: Message["role"], text: string): Tree {
  return withMessage(tree, { ...message(parent, { role, state: "done", text }, Object.keys(tree).length), id });
}

function talk(): Tree {
  return add(add({}, "q", null, "user", "why?"), "a", "q", "assistant", "so");
}

function ids(path: readonly Message[]): string[] {
  return path.map(({ id }) => id);
}

it("is read from the first message to the leaf", () => {
  expect(ids(thread(talk(), "a"))).toEqual(["q", "a"]);
  expect(thread({}, null)).toEqual([]);
  expect(thread(talk(), "gone")).toEqual([]);
});

it("keeps the earlier answer beside a new one, and finds the end of each branch", () => {
  let tree = add(talk(), "b", "q", "assistant", "because");
  tree = add(tree, "c", "a", "user", "and?");
  const below = children(tree);
  expect(ids(below.get("q") as Message[])).toEqual(["a", "b"]);
  expect(newestLeaf(below, "a")).toBe("c");
  expect(newestLeaf(below, "b")).toBe("b");
  expect(ids(thread(tree, newestLeaf(below, "a")))).toEqual(["q", "a", "c"]);
});

it("makes different ids", () => {
  const made = Array.from({ length: 1000 }, () => message(null, { role: "user", state: "done" }, 0).id);
  expect(new Set(made).size).toBe(1000);
});

it("changes one message and leaves the old tree as it was", () => {
  const before = talk();
  const after = change(before, "a", { text: "so it is" });
  expect(after["a"]?.text).toBe("so it is");
  expect(before["a"]?.text).toBe("so");
  expect(change(before, "none", { text: "x" })).toBe(before);
});

it("sends the system prompt first and no answer that has no text", () => {
  const tree = add(talk(), "c", "a", "user", "and?");
  expect(turns(thread(tree, "c"), "be brief")).toEqual([
    { role: "system", content: "be brief" },
    { role: "user", content: "why?" },
    { role: "assistant", content: "so" },
    { role: "user", content: "and?" },
  ]);
  expect(turns(thread(change(tree, "a", { text: "" }), "c"), "  ").map(({ role }) => role)).toEqual(["user", "user"]);
});

it("sends pictures as parts, and passages as material", () => {
  const url = "data:image/png;base64,AA==";
  const passage = { file: "a.txt", from: 1, to: 2, text: "the answer is 42" };
  const asked = message(
    null,
    { role: "user", state: "done", text: "what?", images: [url], sources: { passages: [passage], reranker: "" } },
    0,
  );
  const [turn] = turns([asked], "");
  const [text, image] = turn?.content as { type: string; text?: string }[];
  expect(text?.text).toMatch(/^what\?\n\n[^]*\[1\] a\.txt\n"""\nthe answer is 42\n"""$/);
  expect(image).toEqual({ type: "image_url", image_url: { url } });
});

it("marks what was on its way at a reload as broken off, with its text", () => {
  const moving = change(talk(), "a", { state: "streaming" })["a"] as Message;
  expect(settled(moving)).toMatchObject({ state: "failed", text: "so", failure: { kind: "interrupted" } });
  expect(settled(talk()["q"] as Message).state).toBe("done");
});

it("does not hang on a damaged tree", () => {
  const damaged = change(talk(), "q", { parent: "a" });
  expect(thread(damaged, "a").length).toBeLessThan(5);
  expect(["q", "a"]).toContain(newestLeaf(children(damaged), "q"));
});
