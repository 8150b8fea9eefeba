import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { chunk, endless, error, FakeServer, stream } from "./server";
import { Memory } from "./shelf";
import { answerOf, ask, Browser, summary } from "./world";

let server: FakeServer;
let browser: Browser;

beforeEach(() => {
  server = new FakeServer();
  browser = new Browser();
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function bodyOf(index: number): Record<string, unknown> {
  return server.requests.at(index)?.body as Record<string, unknown>;
}

describe("an answer", () => {
  it("is put together from its pieces, with its numbers", async () => {
    const { chat } = await browser.tab();
    const usage = JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } });
    const thought = chunk({ reasoning_content: "hm" });
    server.chat = () => stream(["Hel", "lo"], [thought, chunk({}, "stop"), usage, "[DONE]"], { "x-headrace-queue-ms": "7" });
    await ask(chat);
    expect(summary(chat)).toEqual([
      ["user", "hi", "done", undefined],
      ["assistant", "Hello", "done", undefined],
    ]);
    const answer = chat.current.value.thread.value[1];
    expect(answer).toMatchObject({ model: "small", reasoning: "hm" });
    expect(answer?.numbers).toMatchObject({ usage: { prompt: 5, completion: 2 }, queued: 7 });
    expect(answer?.numbers?.ttft).toBeGreaterThanOrEqual(0);
    expect(chat.current.value.busy.value).toBe(false);
  });

  it("is asked for with everything said before, and what is set", async () => {
    const { chat } = await browser.tab();
    chat.current.value.change({ system: "be brief", parameters: { temperature: 0, seed: 3 } });
    await ask(chat, "one");
    await ask(chat, "two");
    expect(server.requests.at(-1)).toEqual({
      path: "/v1/chat/completions",
      key: "Bearer hr-good",
      body: {
        model: "small",
        temperature: 0,
        seed: 3,
        stream: true,
        stream_options: { include_usage: true },
        messages: [
          { role: "system", content: "be brief" },
          { role: "user", content: "one" },
          { role: "assistant", content: "Hello" },
          { role: "user", content: "two" },
        ],
      },
    });
  });

  it("can be stopped, keeps its text, and goes on where it ended", async () => {
    const { chat } = await browser.tab();
    server.chat = (_, signal) => endless(["so far "], signal);
    const asking = ask(chat);
    await vi.waitFor(() => expect(chat.current.value.live.value?.text).toBe("so far "));
    expect(chat.current.value.busy.value).toBe(true);
    chat.current.value.stop();
    await asking;
    expect(summary(chat)[1]).toEqual(["assistant", "so far ", "stopped", undefined]);
    server.chat = () => stream([" ", " so good"]);
    await chat.current.value.resume(answerOf(chat));
    expect(bodyOf(-1)).toMatchObject({
      continue_final_message: true,
      add_generation_prompt: false,
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: "so far" },
      ],
    });
    expect(summary(chat)[1]).toEqual(["assistant", "so far so good", "done", undefined]);
  });

  it("that reached the length limit says so", async () => {
    const { chat } = await browser.tab();
    server.chat = () => stream(["long"], [chunk({}, "length"), "[DONE]"]);
    await ask(chat);
    expect(summary(chat)[1]?.[2]).toBe("cut");
  });

  it("that breaks off keeps its text and tells the error", async () => {
    const { chat } = await browser.tab();
    server.chat = () => stream(["half"], [JSON.stringify({ error: { message: "worker lost" } })]);
    await ask(chat);
    expect(summary(chat)[1]).toEqual(["assistant", "half", "failed", "interrupted"]);
    expect(chat.current.value.thread.value[1]?.failure?.detail).toBe("worker lost");
    server.chat = () => stream(["half"], []);
    await chat.current.value.regenerate(answerOf(chat));
    expect(summary(chat)[1]).toEqual(["assistant", "half", "failed", "interrupted"]);
  });

  it("made again stands beside the first one; one that said nothing is replaced", async () => {
    const { chat } = await browser.tab();
    server.chat = () => error(503, "all busy", { "retry-after": "3" });
    await ask(chat, "keep me");
    expect(summary(chat)[1]).toEqual(["assistant", "", "failed", "overloaded"]);
    server.chat = () => stream(["first"]);
    await chat.current.value.regenerate(answerOf(chat));
    expect(Object.keys(chat.current.value.tree.value)).toHaveLength(2);
    server.chat = () => stream(["second"]);
    const first = answerOf(chat);
    await chat.current.value.regenerate(first);
    expect(summary(chat)[1]?.[1]).toBe("second");
    chat.current.value.choose(first);
    expect(summary(chat)[1]?.[1]).toBe("first");
  });
});

describe("a question", () => {
  it("that is edited begins another branch", async () => {
    const { chat } = await browser.tab();
    await ask(chat, "one");
    await ask(chat, "two");
    const first = chat.current.value.thread.value[0]?.id ?? "";
    await chat.current.value.edit(first, "uno");
    expect(summary(chat).map(([, text]) => text)).toEqual(["uno", "Hello"]);
    chat.current.value.choose(first);
    expect(summary(chat).map(([, text]) => text)).toEqual(["one", "Hello", "two", "Hello"]);
  });

  it("stays in the box while there is no model to send it to", async () => {
    server.models = () => Response.json({ data: [] });
    const { chat } = await browser.tab();
    await ask(chat, "hello?");
    expect(chat.draft.value).toBe("hello?");
    expect(summary(chat)).toEqual([]);
  });

  it("that is half typed survives the tab, in each conversation", async () => {
    const first = await browser.tab();
    await ask(first.chat, "said");
    first.chat.type("half a thou");
    const id = first.chat.current.value.id;
    first.chat.fresh();
    first.chat.type("another");
    const second = await browser.tab();
    expect(second.chat.draft.value).toBe("another");
    await second.chat.open(id);
    expect(second.chat.draft.value).toBe("half a thou");
  });
});

describe("a reload", () => {
  it("in the middle of an answer keeps all of it, marked as broken off", async () => {
    const storage = new Memory();
    const before = await browser.tab(storage);
    server.chat = (_, signal) => endless(["what came ", "so far"], signal);
    void ask(before.chat, "long story");
    await vi.waitFor(() => expect(before.chat.current.value.live.value?.text).toBe("what came so far"));
    before.chat.leave();
    browser.lines.splice(0); // that page is gone
    const after = await browser.tab(storage);
    expect(await after.chat.open(before.chat.current.value.id)).toBe(true);
    expect(summary(after.chat)).toEqual([
      ["user", "long story", "done", undefined],
      ["assistant", "what came so far", "failed", "interrupted"],
    ]);
  });

  it("keeps conversations, their titles and pins", async () => {
    const before = await browser.tab();
    await ask(before.chat, "  First line\nsecond line");
    before.chat.change(before.chat.current.value.id, { pinned: true });
    await before.chat.keeper.settled();
    const after = await browser.tab();
    expect(after.chat.heads.value).toMatchObject([{ title: "First line", pinned: true }]);
    expect(await after.chat.open("none")).toBe(false);
  });
});

it("that comes back from where pages are kept goes on with what it has", async () => {
  const storage = new Memory();
  const { chat } = await browser.tab(storage);
  server.chat = (_, signal) => endless(["first half"], signal);
  void ask(chat, "story");
  await vi.waitFor(() => expect(chat.current.value.live.value?.text).toBe("first half"));
  chat.leave();
  expect(storage.getItem("headrace.rescue")).toContain("first half");
  chat.returned();
  expect(storage.getItem("headrace.rescue")).toBeNull();
});

describe("two tabs", () => {
  it("see each other's messages and removals", async () => {
    const one = await browser.tab();
    const two = await browser.tab();
    await ask(one.chat, "hello");
    const id = one.chat.current.value.id;
    await vi.waitFor(() => expect(two.chat.heads.value).toHaveLength(1));
    await two.chat.open(id);
    await ask(two.chat, "and on");
    await vi.waitFor(() => expect(summary(one.chat).map(([, text]) => text)).toEqual(["hello", "Hello", "and on", "Hello"]));
    await one.chat.remove(id);
    await vi.waitFor(() => expect(two.chat.heads.value).toEqual([]));
    expect(summary(two.chat)).toEqual([]);
  });

  it("do not take an answer of the other one for broken off, until that one is closed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const one = await browser.tab();
      server.chat = (_, signal) => endless(["going on"], signal);
      void ask(one.chat, "long story");
      await vi.waitFor(() => expect(one.chat.current.value.live.value?.text).toBe("going on"));
      await one.chat.keeper.settled();
      const two = await browser.tab();
      await two.chat.open(one.chat.current.value.id);
      expect(two.chat.current.value.elsewhere.value).toBe(true);
      await two.chat.current.value.send("me too");
      expect(summary(two.chat)).toHaveLength(2);
      browser.lines.splice(0, 1); // the first one is closed
      await vi.advanceTimersByTimeAsync(5_000);
      expect(two.chat.current.value.elsewhere.value).toBe(false);
      expect(summary(two.chat)[1]?.[2]).toBe("failed");
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("removal", () => {
  it("can be undone", async () => {
    const { chat, library } = await browser.tab();
    await ask(chat, "keep me");
    const id = chat.current.value.id;
    const copy = await chat.remove(id);
    expect(await library.head(id)).toBeUndefined();
    expect(chat.heads.value).toEqual([]);
    chat.restore(copy === null ? [] : [copy]);
    await chat.keeper.settled();
    expect(await library.messages(id)).toHaveLength(2);
  });

  it("ends the answer on its way, and that does not bring it back", async () => {
    const { chat, library } = await browser.tab();
    server.chat = (_, signal) => endless(["x"], signal);
    const asking = ask(chat, "bye");
    await vi.waitFor(() => expect(chat.current.value.live.value?.text).toBe("x"));
    const id = chat.current.value.id;
    await chat.remove(id);
    await asking;
    await chat.keeper.settled();
    expect(await library.head(id)).toBeUndefined();
  });

  it("of everything leaves nothing in any tab", async () => {
    const one = await browser.tab();
    const two = await browser.tab();
    await ask(one.chat, "secret");
    one.chat.type("half a secret");
    browser.device.setItem("headrace.theme", "dark");
    await one.chat.clear(["theme"]);
    one.session.leave();
    expect([...browser.device.items.keys()]).toEqual(["headrace.theme"]);
    expect(one.chat.draft.value).toBe("");
    expect(await one.library.heads()).toEqual([]);
    expect(one.storage.length).toBe(0);
    await vi.waitFor(() => expect(two.session.key.value).toBe(""));
    expect(two.chat.heads.value).toEqual([]);
  });
});

it("goes on when the browser's storage is full, and writes what is missing when there is room", async () => {
  const { chat, library } = await browser.tab();
  const save = vi.spyOn(library, "save").mockRejectedValue(new DOMException("full", "QuotaExceededError"));
  await ask(chat, "one");
  await vi.waitFor(() => expect(chat.keeper.full.value).toBe(true));
  expect(summary(chat)).toHaveLength(2);
  save.mockRestore();
  await ask(chat, "two");
  await chat.keeper.settled();
  expect(chat.keeper.full.value).toBe(false);
  expect(await library.messages(chat.current.value.id)).toHaveLength(4);
});

describe("search", () => {
  it("finds all the words in one message", async () => {
    const { chat, library } = await browser.tab();
    await ask(chat, "The Quick brown fox");
    await chat.keeper.settled();
    expect(await library.search(["quick", "fox"])).toEqual(new Set([chat.current.value.id]));
    expect(await library.search(["quick", "hello"])).toEqual(new Set());
  });
});

describe("a session", () => {
  it("offers only models that chat", async () => {
    const { session } = await browser.tab();
    expect(session.chatModels.value?.map(({ id }) => id)).toEqual(["small"]);
    expect(session.model.value?.id).toBe("small");
  });

  it("prefers a model that is ready, and the person's choice to that", async () => {
    const loading = { status: "loading" };
    server.models = () => Response.json({ data: [{ id: "a", headrace: loading }, { id: "b" }, { id: "c" }] });
    const { session } = await browser.tab();
    expect(session.model.value?.id).toBe("b");
    session.chooseModel("a");
    expect(session.model.value?.id).toBe("a");
    expect(session.modelNamed("c")?.id).toBe("c");
    expect(session.modelNamed("gone")?.id).toBe("a");
  });

  it("keeps a good key for the tab, or on the device if it may, and no wrong one", async () => {
    const { session, storage } = await browser.tab();
    expect(storage.getItem("headrace.key")).toBe("hr-good");
    await session.signIn("hr-kept", true);
    expect(browser.device.getItem("headrace.key")).toBe("hr-kept");
    server.models = () => error(401, "no such key");
    await session.signIn("hr-bad");
    expect(session.failure.value).toMatchObject({ kind: "key", detail: "no such key" });
    expect(session.key.value).toBe("");
    expect([storage.getItem("headrace.key"), browser.device.getItem("headrace.key")]).toEqual([null, null]);
  });

  it("ends when the key is refused in the middle, and what was said stays", async () => {
    const { session, chat } = await browser.tab();
    server.chat = () => error(401, "revoked");
    await ask(chat, "keep me");
    expect(session.key.value).toBe("");
    expect(session.failure.value?.kind).toBe("key");
    expect(summary(chat)[0]?.[1]).toBe("keep me");
  });

  it("looks again while the server is away", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { session } = await browser.tab();
      server.models = () => Promise.reject(new TypeError("failed to fetch"));
      await session.refresh();
      expect(session.failure.value?.kind).toBe("offline");
      server.models = () => Response.json({ data: [{ id: "back" }] });
      await vi.advanceTimersByTimeAsync(10_000);
      expect(session.failure.value).toBeNull();
      expect(session.model.value?.id).toBe("back");
    } finally {
      vi.useRealTimers();
    }
  });

  it("passes on to a second tab", async () => {
    const one = await browser.tab();
    one.tabs.key = () => one.session.key.value;
    const two = await browser.tab();
    expect(await two.tabs.askForKey()).toBe("hr-good");
    one.session.leave();
    expect(await two.tabs.askForKey(20)).toBeNull();
  });

  it("knows what the limits leave", async () => {
    const { session, chat } = await browser.tab();
    server.chat = () =>
      stream(["x"], undefined, { "x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "599" });
    await ask(chat);
    expect(session.allowance.value).toMatchObject({ requests: { limit: 600, remaining: 599 }, tokens: null });
  });
});
