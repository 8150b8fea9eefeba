import { expect, it } from "vitest";
import { message, thread } from "../src/chat/tree";
import type { Head } from "../src/store/records";
import { fromJson, NotReadable, toJson, toMarkdown } from "../src/store/transfer";

const HEAD: Head = {
  id: "c1",
  title: "Water",
  named: true,
  pinned: true,
  created: 1,
  updated: 2,
  leaf: "a1",
  model: "small",
  system: "be brief",
  parameters: { temperature: 0.5 },
};
const SOURCES = { passages: [{ file: "a.txt", from: 1, to: 2, text: "because" }], reranker: "judge" };
const QUESTION = { ...message(null, { role: "user", state: "done", text: "why?", sources: SOURCES }, 1), id: "q1" };
const ANSWER = { ...message("q1", { role: "assistant", state: "done", text: "so", model: "small" }, 2), id: "a1" };
const OTHER = { ...message("q1", { role: "assistant", state: "stopped", text: "no" }, 3), id: "a2" };

it("brings back what it wrote, under new names", () => {
  const [copy] = fromJson(toJson([{ head: HEAD, messages: [QUESTION, ANSWER, OTHER] }]), 9);
  expect(copy?.head).toMatchObject({ ...HEAD, id: copy?.head.id, leaf: copy?.head.leaf });
  expect(copy?.head.id).not.toBe("c1");
  const tree = Object.fromEntries((copy?.messages ?? []).map((item) => [item.id, item]));
  expect(thread(tree, copy?.head.leaf ?? "").map(({ text }) => text)).toEqual(["why?", "so"]);
  expect(copy?.messages).toHaveLength(3);
  expect(copy?.messages[0]?.sources).toEqual(SOURCES);
});

it.each(["", "{", "null", "[]", '{"format":"other"}', '{"format":"headrace.conversations","version":99,"conversations":[]}'])(
  "refuses %s",
  (text) => {
    expect(() => fromJson(text, 0)).toThrow(NotReadable);
  },
);

it("makes something harmless of a damaged file", () => {
  const damaged = {
    format: "headrace.conversations",
    version: 1,
    conversations: [
      null,
      { head: { title: 3, parameters: { temperature: "hot", evil: 1 } }, messages: [{ role: "system", text: {}, images: ["https://x"] }, 7] },
    ],
  };
  const copies = fromJson(JSON.stringify(damaged), 5);
  expect(copies).toHaveLength(2);
  expect(copies[1]?.head).toMatchObject({ title: "", parameters: {}, created: 5 });
  expect(copies[1]?.messages[0]).toMatchObject({ role: "assistant", text: "", images: [], state: "done", parent: null });
});

it("writes the branch that is read as Markdown", () => {
  const tree = { q1: QUESTION, a1: ANSWER, a2: OTHER };
  expect(toMarkdown(HEAD, tree, { user: "You", assistant: "Assistant" })).toBe(
    "# Water\n\n> be brief\n\n## You\n\nwhy?\n\n## small\n\nso\n",
  );
});
