import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Files } from "../src/retrieval/files";
import { choose, embed, nearest, similarity } from "../src/retrieval/rank";
import { estimate, split } from "../src/retrieval/split";
import { error, FakeServer } from "./server";
import { ask, Browser, type Tab } from "./world";

describe("a text", () => {
  it("is cut between lines, rather at an empty one, with the line before", () => {
    const text = ["Title", "a ".repeat(20), "b ".repeat(20), "", "c ".repeat(20), "d ".repeat(20)].join("\n");
    const cuts = split(text, 40, false);
    expect(cuts.length).toBeGreaterThan(1);
    expect(cuts[0]).toMatchObject({ from: 1, to: 4 });
    expect(cuts[0]?.text.startsWith("Title")).toBe(true);
    expect(cuts.at(-1)?.to).toBe(6);
    for (let line = 1; line <= 6; line++) {
      expect(line === 4 || cuts.some(({ from, to }) => from <= line && line <= to), `line ${line}`).toBe(true);
    }
  });

  it("keeps to the size, whatever its lines are", () => {
    const long = `${"word ".repeat(2000)}\n${"水车".repeat(600)}\n\n\nend`;
    const cuts = split(long, 100, false);
    expect(cuts.every(({ text }) => estimate(text) <= 110)).toBe(true);
    expect(cuts.map(({ text }) => text).join(" ")).toContain("end");
    expect(cuts.filter(({ text }) => text.includes("水")).map(({ text }) => text).join("").match(/水车/g)?.length).toBeGreaterThanOrEqual(594);
  });

  it("of a table has its head in each passage", () => {
    const rows = Array.from({ length: 40 }, (_, row) => `wheel ${row},${row * 3}`);
    const cuts = split(["name,power", ...rows].join("\n"), 60, true);
    expect(cuts.length).toBeGreaterThan(2);
    expect(cuts.every(({ text }) => text.startsWith("name,power\n"))).toBe(true);
    expect(cuts.flatMap(({ text }) => text.split("\n").slice(1))).toEqual(rows);
  });

  it("that is empty has no passages", () => {
    expect(split("\n \n\r\n", 50, false)).toEqual([]);
    expect(split("head,only", 50, true)).toEqual([]);
  });
});

/** Stands where embeddings are: a word's place in the list is its direction. */
const WORDS = ["water", "wheel", "bread", "salt"];
let server: FakeServer;
let batches: number[];

beforeEach(() => {
  server = new FakeServer();
  batches = [];
  server.models = () => Response.json({ data: [{ id: "small" }, { id: "vectors", modality: "embedding", context_length: 512 }] });
  server.embeddings = ({ body }) => {
    const { input } = body as { input: string[] };
    batches.push(input.length);
    const data = input.map((text, index) => ({ index, embedding: WORDS.map((word) => 2 * text.toLowerCase().split(word).length - 2) }));
    return Response.json({ data: data.reverse() });
  };
});

afterEach(() => {
  vi.unstubAllGlobals();
});

const CLIENT = { key: "k", base: "" };

it("embeds in batches, in order, as unit vectors", async () => {
  const texts = Array.from({ length: 70 }, (_, index) => (index % 2 === 0 ? "water" : "bread bread"));
  const vectors = await embed(CLIENT, "vectors", texts);
  expect(batches).toEqual([32, 32, 6]);
  expect([...(vectors[0] as Float32Array)]).toEqual([1, 0, 0, 0]);
  expect([...(vectors[69] as Float32Array)]).toEqual([0, 0, 1, 0]);
  expect(similarity(vectors[0] as Float32Array, vectors[2] as Float32Array)).toBeCloseTo(1);
});

async function withFile(text: string, name = "notes.md"): Promise<{ tab: Tab; files: Files }> {
  const tab = await new Browser().tab();
  const files = new Files(tab.session, tab.library, tab.chat);
  await files.add([new File([text], name)]);
  return { tab, files };
}

const NOTES = `The wheel turns.\n\n${"filler\n".repeat(120)}\n\nBread needs salt.`;

it("answers from the nearest passages, and says what put them in order", async () => {
  const { tab } = await withFile(NOTES);
  await ask(tab.chat, "what does bread need?");
  const [question] = tab.chat.current.value.thread.value;
  expect(question?.sources?.reranker).toBe("");
  expect(question?.sources?.passages[0]?.text).toContain("Bread needs salt.");
  const sent = server.requests.at(-1)?.body as { messages: { content: string }[] };
  expect(sent.messages[0]?.content).toContain("what does bread need?");
  expect(sent.messages[0]?.content).toMatch(/\[1\] notes\.md/);
});

it("lets a reranker decide where the key may use one, and goes on without it where it fails", async () => {
  const { tab } = await withFile(NOTES);
  server.models = () =>
    Response.json({
      data: [{ id: "small" }, { id: "vectors", modality: "embedding" }, { id: "judge", modality: "rerank" }],
    });
  await tab.session.refresh();
  server.rerank = ({ body }) => {
    const { documents } = body as { documents: string[] };
    const index = documents.findIndex((text) => text.startsWith("The wheel"));
    return Response.json({ results: [{ index, relevance_score: 1 }] });
  };
  await ask(tab.chat, "bread?");
  expect(tab.chat.current.value.thread.value[0]?.sources).toMatchObject({ reranker: "judge" });
  expect(tab.chat.current.value.thread.value[0]?.sources?.passages).toHaveLength(1);
  server.rerank = () => error(503, "busy");
  await ask(tab.chat, "bread again?");
  expect(tab.chat.current.value.thread.value[2]?.sources?.reranker).toBe("");
});

it("asks without passages where the files say nothing, and fails where they cannot be read", async () => {
  expect(await choose(CLIENT, null, "q", nearest([], new Float32Array(4)), new AbortController().signal)).toBeNull();
  const { tab } = await withFile(NOTES);
  server.embeddings = () => error(503, "no worker");
  await ask(tab.chat, "bread?");
  expect(tab.chat.current.value.thread.value[1]).toMatchObject({ state: "failed", failure: { kind: "overloaded" } });
});

it.each([
  ["binary", new Uint8Array([1, 0, 2, 255, 254]), "notText"],
  ["not UTF-8", new Uint8Array([0x63, 0xe9, 0x21]), "notText"],
  ["empty", new Uint8Array(), "empty"],
  ["too large", new Uint8Array(4 * 1024 * 1024 + 1).fill(97), "tooLarge"],
])("refuses a file that is %s", async (_, bytes, problem) => {
  const tab = await new Browser().tab();
  const files = new Files(tab.session, tab.library, tab.chat);
  await files.add([new File([bytes], "x.txt")]);
  expect(files.readings.value).toMatchObject([{ problem }]);
  expect(files.documents.value).toEqual([]);
});

it("reads a file again after a failure, keeps it with its conversation, and forgets it", async () => {
  server.embeddings = () => error(429, "slowly", { "retry-after": "1" });
  const { tab, files } = await withFile("Water and salt.");
  const [reading] = files.readings.value;
  expect(reading?.problem).toMatchObject({ kind: "limit" });
  server.embeddings = () => Response.json({ data: [{ index: 0, embedding: [1, 0, 0, 1] }] });
  if (reading) await files.retry(reading);
  expect(files.readings.value).toEqual([]);
  expect(await tab.library.documents(tab.chat.current.value.id)).toHaveLength(1);
  await files.remove(files.documents.value[0]?.id ?? "");
  expect(await tab.library.documents(tab.chat.current.value.id)).toEqual([]);
});
