import "fake-indexeddb/auto";
import { expect, it, vi } from "vitest";
import { message } from "../src/chat/tree";
import { type Library, openLibrary } from "../src/store/library";
import type { Head } from "../src/store/records";

const HEAD: Head = {
  id: "c", title: "t", named: false, pinned: false, created: 1, updated: 1, leaf: null, model: "", system: "", parameters: {},
}; // prettier-ignore

async function refused(): Promise<Library> {
  vi.stubGlobal("indexedDB", undefined);
  try {
    return await openLibrary("refused");
  } finally {
    vi.unstubAllGlobals();
  }
}

it.each([
  ["in the database", () => openLibrary("kept"), true],
  ["in memory where the browser refuses", refused, false],
])("keeps conversations and files %s", async (_, open, lasting) => {
  const library = await open();
  expect(library.lasting).toBe(lasting);
  const said = message(null, { role: "user", state: "done", text: "Hello" }, 1);
  await library.save(HEAD, [said]);
  await library.save({ ...HEAD, title: "new" }, []);
  const document = { id: "d", conversation: "c", name: "a.txt", size: 1, model: "m", passages: [] };
  await library.addDocument(document);
  expect(await library.heads()).toMatchObject([{ title: "new" }]);
  expect(await library.messages("c")).toMatchObject([{ text: "Hello" }]);
  expect(await library.messages("other")).toEqual([]);
  expect(await library.documents("c")).toEqual([document]);
  expect(await library.search(["hello"])).toEqual(new Set(["c"]));
  await library.removeDocument("d");
  expect(await library.documents("c")).toEqual([]);
  await library.addDocument(document);
  await library.remove("c");
  expect([await library.heads(), await library.messages("c"), await library.documents("c")]).toEqual([[], [], []]);
  await library.save(HEAD, [said]);
  await library.clear();
  expect(await library.head("c")).toBeUndefined();
});

it("saves a conversation and its messages together or not at all", async () => {
  const library = await openLibrary("together");
  const bad = { ...message(null, { role: "user", state: "done" }, 1), text: (() => 0) as unknown as string };
  await expect(library.save(HEAD, [bad])).rejects.toThrow();
  expect(await library.head("c")).toBeUndefined();
});
