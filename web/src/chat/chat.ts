// The one conversation on the page: sending, streaming, stopping, and keeping all of it over a reload.

import { computed, signal } from "@preact/signals";
import { type Piece, streamChat } from "../api/chat";
import { type Failure, failed, RequestFailed } from "../api/failure";
import type { Shelf } from "../storage";
import { add, change, type Conversation, EMPTY, type Message, settled, thread, turns } from "./conversation";
import type { Session } from "./session";

const SAVE_EVERY = 1_000;

export class Chat {
  readonly conversation = signal<Conversation>(EMPTY);
  readonly draft = signal("");
  readonly thread = computed(() => thread(this.conversation.value));
  readonly busy = signal(false);
  #abort: AbortController | null = null;
  #saved = 0;

  constructor(
    private readonly session: Session,
    private readonly tab: Shelf,
    private readonly now: () => number = Date.now,
  ) {
    this.draft.value = tab.read("draft") ?? "";
    this.conversation.value = settled(parse(tab.read("conversation")));
  }

  type(text: string): void {
    this.draft.value = text;
    this.tab.write("draft", text);
  }

  /** Sends the draft. It is a message from here on, whatever becomes of the answer. */
  async send(): Promise<void> {
    const text = this.draft.value.trim();
    if (text === "" || this.busy.value || this.session.model.value === null) return;
    this.#set(add(this.conversation.value, this.conversation.value.leaf, { role: "user", state: "done", text }, this.now()));
    this.type("");
    await this.#answer();
  }

  /** Asks again for an answer that failed; what had come of it stays in the tree. */
  async retry(id: string): Promise<void> {
    const message = this.conversation.value.messages[id];
    if (message === undefined || this.busy.value) return;
    this.#set({ ...this.conversation.value, leaf: message.role === "user" ? id : message.parent });
    await this.#answer();
  }

  stop(): void {
    this.#abort?.abort();
  }

  clear(): void {
    this.stop();
    this.#set(EMPTY);
  }

  save(): void {
    this.#saved = this.now();
    const { leaf } = this.conversation.value;
    this.tab.write("conversation", leaf === null ? "" : JSON.stringify(this.conversation.value));
  }

  async #answer(): Promise<void> {
    const model = this.session.model.value?.id ?? "";
    const messages = turns(this.conversation.value);
    const { leaf } = this.conversation.value;
    this.#set(add(this.conversation.value, leaf, { role: "assistant", state: "waiting", model }, this.now()));
    const id = this.conversation.value.leaf as string;
    const abort = (this.#abort = new AbortController());
    this.busy.value = true;
    try {
      for await (const piece of streamChat(this.session.client, model, messages, abort.signal)) this.#take(id, piece);
      this.#end(id, {});
    } catch (error) {
      if (abort.signal.aborted) this.#end(id, { state: "stopped" });
      else this.#end(id, { state: "failed", failure: asFailure(error) });
    } finally {
      this.busy.value = false;
      this.#abort = null;
      this.save();
    }
  }

  #take(id: string, piece: Piece): void {
    const message = this.conversation.value.messages[id];
    if (message === undefined) return;
    this.conversation.value = change(this.conversation.value, id, changes(message, piece));
    if (this.now() - this.#saved > SAVE_EVERY) this.save();
  }

  #end(id: string, fields: Partial<Message>): void {
    const state = this.conversation.value.messages[id]?.state;
    const ended = state === "waiting" || state === "streaming" ? { state: "done" as const } : {};
    this.#set(change(this.conversation.value, id, { ...ended, ...fields }));
    if (fields.failure?.kind === "key") this.session.reject(fields.failure);
    else if (fields.failure) void this.session.refresh();
  }

  #set(conversation: Conversation): void {
    this.conversation.value = conversation;
    this.save();
  }
}

function changes(message: Message, piece: Piece): Partial<Message> {
  switch (piece.kind) {
    case "text":
      return { text: message.text + piece.text, state: "streaming" };
    case "reasoning":
      return { reasoning: message.reasoning + piece.text, state: "streaming" };
    case "finish":
      return { state: piece.reason === "length" ? "cut" : "done" };
    case "usage":
      return { usage: piece.usage };
  }
}

function asFailure(error: unknown): Failure {
  return error instanceof RequestFailed ? error.failure : failed("server", String(error)).failure;
}

function parse(text: string | null): Conversation {
  if (text === null) return EMPTY;
  try {
    const document = JSON.parse(text) as Partial<Conversation> | null;
    return document?.messages && document.leaf !== undefined ? { messages: document.messages, leaf: document.leaf } : EMPTY;
  } catch {
    return EMPTY;
  }
}
