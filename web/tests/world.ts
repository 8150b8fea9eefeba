import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { Chat } from "../src/chat/chat";
import { Session } from "../src/chat/session";
import { type Library, openLibrary } from "../src/store/library";
import { type Line, type News, Tabs } from "../src/store/tabs";
import { Memory, shelf } from "./shelf";

/** A browser: what its tabs share. */
export class Browser {
  readonly device = new Memory();
  readonly lines: FakeLine[] = [];

  constructor() {
    globalThis.indexedDB = new IDBFactory();
  }

  /** A tab with the page in it, signed in. */
  async tab(storage = new Memory()): Promise<Tab> {
    const session = new Session("", shelf(storage), shelf(this.device));
    await session.signIn("hr-good");
    const library = await openLibrary();
    const tabs = new Tabs(new FakeLine(this));
    const chat = new Chat(session, library, tabs, shelf(storage), shelf(this.device), Date.now, (run) => run());
    await chat.start();
    return { session, chat, library, tabs, storage };
  }
}

export interface Tab {
  readonly session: Session;
  readonly chat: Chat;
  readonly library: Library;
  readonly tabs: Tabs;
  readonly storage: Memory;
}

/** A BroadcastChannel: heard by all others, a moment later. */
class FakeLine implements Line {
  onmessage: ((event: MessageEvent<News>) => void) | null = null;

  constructor(private readonly browser: Browser) {
    browser.lines.push(this);
  }

  postMessage(news: News): void {
    for (const line of this.browser.lines) {
      if (line !== this) queueMicrotask(() => line.onmessage?.({ data: news } as MessageEvent<News>));
    }
  }
}

export async function ask(chat: Chat, text = "hi"): Promise<void> {
  chat.type(text);
  await chat.send();
}

export function summary(chat: Chat): (string | undefined)[][] {
  return chat.current.value.thread.value.map(({ role, text, state, failure }) => [role, text, state, failure?.kind]);
}

export function answerOf(chat: Chat): string {
  return chat.current.value.thread.value.at(-1)?.id ?? "";
}
