// A conversation is a tree of messages and a leaf: an answer that is made again is a sibling, never a replacement.

import type { Turn, Usage } from "../api/chat";
import type { Failure } from "../api/failure";

export type MessageState =
  | "done"
  | "waiting" // nothing has come yet
  | "streaming"
  | "stopped" // by the person
  | "cut" // by the length limit
  | "failed"; // see `failure`

export interface Message {
  readonly id: string;
  readonly parent: string | null;
  readonly role: "user" | "assistant";
  readonly text: string;
  readonly reasoning: string;
  readonly state: MessageState;
  readonly model: string;
  readonly failure: Failure | null;
  readonly usage: Usage | null;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface Conversation {
  readonly messages: Readonly<Record<string, Message>>;
  readonly leaf: string | null;
}

export const EMPTY: Conversation = { messages: {}, leaf: null };

export type NewMessage = Pick<Message, "role" | "state"> & Partial<Message>;

/** Adds a message below `parent` and makes it the leaf. */
export function add(conversation: Conversation, parent: string | null, fields: NewMessage, at: number): Conversation {
  const id = fields.id ?? newId();
  const blank = { text: "", reasoning: "", model: "", failure: null, usage: null, at };
  const message: Message = { ...blank, ...fields, id, parent };
  return { messages: { ...conversation.messages, [id]: message }, leaf: id };
}

export function change(conversation: Conversation, id: string, fields: Partial<Message>): Conversation {
  const message = conversation.messages[id];
  if (message === undefined) return conversation;
  return { ...conversation, messages: { ...conversation.messages, [id]: { ...message, ...fields } } };
}

/** The messages from the first one to the leaf. */
export function thread({ messages, leaf }: Conversation): Message[] {
  const path: Message[] = [];
  let at = leaf === null ? undefined : messages[leaf];
  while (at !== undefined && path.length <= Object.keys(messages).length) {
    path.push(at);
    at = at.parent === null ? undefined : messages[at.parent];
  }
  return path.reverse();
}

/** What the model is sent for an answer below the leaf: answers that have no text are left out. */
export function turns(conversation: Conversation): Turn[] {
  return thread(conversation)
    .filter((message) => message.role === "user" || message.text !== "")
    .map((message) => ({ role: message.role, content: message.text }));
}

/** As it is after a reload: nothing is on its way any more. */
export function settled(conversation: Conversation): Conversation {
  const failure: Failure = { kind: "interrupted", detail: "", retryAt: null };
  const messages = Object.values(conversation.messages).map((message): Message => {
    const moving = message.state === "waiting" || message.state === "streaming";
    return moving ? { ...message, state: "failed", failure } : message;
  });
  return { ...conversation, messages: Object.fromEntries(messages.map((message) => [message.id, message])) };
}

/** Not `crypto.randomUUID`: that one exists only on HTTPS and localhost. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
