import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Chat } from "../src/chat/chat";
import { Session } from "../src/chat/session";
import { chunk, endless, error, FakeServer, stream } from "./server";
import { Memory, shelf } from "./shelf";

let server: FakeServer;
let tab: Memory;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  tab = new Memory();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function open(): Promise<{ session: Session; chat: Chat }> {
  const session = new Session("", shelf(tab), shelf());
  await session.signIn("hr-good");
  return { session, chat: new Chat(session, shelf(tab)) };
}

async function ask(chat: Chat, text = "hi"): Promise<void> {
  chat.type(text);
  await chat.send();
}

function summary(chat: Chat): (string | undefined)[][] {
  return chat.thread.value.map(({ role, text, state, failure }) => [role, text, state, failure?.kind]);
}

describe("an answer", () => {
  it("is put together from its pieces", async () => {
    const { chat } = await open();
    const usage = JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } });
    const thought = chunk({ reasoning_content: "hm" });
    server.chat = () => stream(["Hel", "lo"], [thought, chunk({}, "stop"), usage, "[DONE]"]);
    await ask(chat);
    expect(summary(chat)).toEqual([
      ["user", "hi", "done", undefined],
      ["assistant", "Hello", "done", undefined],
    ]);
    expect(chat.thread.value[1]).toMatchObject({ model: "small", reasoning: "hm", usage: { prompt: 5, completion: 2 } });
    expect(chat.busy.value).toBe(false);
  });

  it("is asked for with everything said before", async () => {
    const { chat } = await open();
    await ask(chat, "one");
    await ask(chat, "two");
    expect(server.requests.at(-1)).toEqual({
      path: "/v1/chat/completions",
      key: "Bearer hr-good",
      body: {
        model: "small",
        stream: true,
        stream_options: { include_usage: true },
        messages: [
          { role: "user", content: "one" },
          { role: "assistant", content: "Hello" },
          { role: "user", content: "two" },
        ],
      },
    });
  });

  it("that reached the length limit says so", async () => {
    const { chat } = await open();
    server.chat = () => stream(["long"], [chunk({}, "length"), "[DONE]"]);
    await ask(chat);
    expect(chat.thread.value[1]?.state).toBe("cut");
  });

  it("can be stopped and keeps its text", async () => {
    const { chat } = await open();
    server.chat = (_, signal) => endless(["so far"], signal);
    const asking = ask(chat);
    await vi.waitFor(() => expect(chat.thread.value[1]?.text).toBe("so far"));
    expect(chat.busy.value).toBe(true);
    chat.stop();
    await asking;
    expect(summary(chat)[1]).toEqual(["assistant", "so far", "stopped", undefined]);
  });

  it("that breaks off keeps its text", async () => {
    const { chat } = await open();
    server.chat = () => stream(["half"], []);
    await ask(chat);
    expect(summary(chat)[1]).toEqual(["assistant", "half", "failed", "interrupted"]);
  });

  it("that ends with an error event tells the error", async () => {
    const { chat } = await open();
    server.chat = () => stream(["half"], [JSON.stringify({ error: { message: "worker lost" } })]);
    await ask(chat);
    expect(chat.thread.value[1]?.failure).toMatchObject({ kind: "interrupted", detail: "worker lost" });
  });
});

describe("what was typed", () => {
  it("survives a reload before and after it is sent", async () => {
    const { session, chat } = await open();
    await ask(chat, "first");
    chat.type("half a thou");
    const reloaded = new Chat(session, shelf(tab));
    expect(reloaded.draft.value).toBe("half a thou");
    expect(summary(reloaded)).toEqual(summary(chat));
  });

  it("survives every failure and can be sent again", async () => {
    const { chat } = await open();
    server.chat = () => error(503, "all busy", { "retry-after": "3" });
    await ask(chat, "keep me");
    expect(summary(chat)[1]).toEqual(["assistant", "", "failed", "overloaded"]);
    expect(chat.thread.value[1]?.failure).toMatchObject({ detail: "all busy", retryAt: Date.now() + 3000 });
    server.chat = () => stream(["now"]);
    await chat.retry(chat.thread.value[1]?.id ?? "");
    expect(summary(chat)).toEqual([
      ["user", "keep me", "done", undefined],
      ["assistant", "now", "done", undefined],
    ]);
  });

  it("stays in the box while there is no model to send it to", async () => {
    server.models = () => Response.json({ data: [] });
    const { chat } = await open();
    await ask(chat, "hello?");
    expect(chat.draft.value).toBe("hello?");
    expect(chat.thread.value).toEqual([]);
  });

  it("survives a damaged store", async () => {
    const { session } = await open();
    for (const damaged of ["{", "null", "[]", '{"messages": null}']) {
      tab.setItem("headrace.conversation", damaged);
      expect(new Chat(session, shelf(tab)).thread.value).toEqual([]);
    }
  });
});

describe("a session", () => {
  it("offers only models that chat", async () => {
    const { session } = await open();
    expect(session.models.value?.map(({ id }) => id)).toEqual(["small"]);
    expect(session.model.value?.id).toBe("small");
  });

  it("prefers a model that is ready, and the person's choice to that", async () => {
    const loading = { status: "loading" };
    server.models = () => Response.json({ data: [{ id: "a", headrace: loading }, { id: "b" }, { id: "c" }] });
    const { session } = await open();
    expect(session.model.value?.id).toBe("b");
    session.chooseModel("a");
    expect(session.model.value?.id).toBe("a");
  });

  it("keeps a good key for the tab and no wrong one", async () => {
    const { session } = await open();
    expect(tab.getItem("headrace.key")).toBe("hr-good");
    server.models = () => error(401, "no such key");
    await session.signIn("hr-bad");
    expect(session.failure.value).toMatchObject({ kind: "key", detail: "no such key" });
    expect(session.key.value).toBe("");
    expect(tab.getItem("headrace.key")).toBeNull();
  });

  it("ends when the key is refused in the middle, and the question stays", async () => {
    const { session, chat } = await open();
    server.chat = () => error(401, "revoked");
    await ask(chat, "keep me");
    expect(session.key.value).toBe("");
    expect(session.failure.value?.kind).toBe("key");
    expect(chat.thread.value[0]?.text).toBe("keep me");
  });

  it("looks again while the server is away", async () => {
    const { session } = await open();
    server.models = () => Promise.reject(new TypeError("failed to fetch"));
    await session.refresh();
    expect(session.failure.value?.kind).toBe("offline");
    server.models = () => Response.json({ data: [{ id: "back" }] });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.failure.value).toBeNull();
    expect(session.model.value?.id).toBe("back");
  });

  it("leaves nothing behind at sign-out", async () => {
    const { session, chat } = await open();
    await ask(chat);
    chat.clear();
    chat.type("");
    session.signOut();
    expect(tab.length).toBe(0);
  });
});
