// Conversations as files: JSON to keep and to bring back, Markdown to read.

import { type Message, type Sources, thread, type Tree } from "../chat/tree";
import { newId } from "../chat/id";
import type { Head } from "./records";

export interface Copy {
  readonly head: Head;
  readonly messages: readonly Message[];
}

const FORMAT = "headrace.conversations";
const VERSION = 1;

export function toJson(copies: readonly Copy[]): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations: copies }, null, 1);
}

export class NotReadable extends Error {}

/** Reads what `toJson` wrote, under new names, so that nothing here is replaced. Throws NotReadable. */
export function fromJson(text: string, now: number): Copy[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new NotReadable("json");
  }
  const { format, version, conversations } = record(document);
  if (format !== FORMAT || typeof version !== "number" || version > VERSION || !Array.isArray(conversations)) {
    throw new NotReadable("format");
  }
  return conversations.map((item) => renamed(record(item), now));
}

function renamed(item: Record<string, unknown>, now: number): Copy {
  const old = Array.isArray(item["messages"]) ? item["messages"].map(record) : [];
  const names = new Map(old.map((message) => [message["id"], newId()]));
  const name = (id: unknown): string | null => (typeof id === "string" ? (names.get(id) ?? null) : null);
  const head = record(item["head"]);
  const messages = old.map((message): Message => {
    const role = message["role"] === "user" ? "user" : "assistant";
    const state = message["state"];
    return {
      id: name(message["id"]) ?? newId(),
      parent: name(message["parent"]),
      role,
      text: string(message["text"]),
      reasoning: string(message["reasoning"]),
      state: state === "stopped" || state === "cut" ? state : "done",
      model: string(message["model"]),
      failure: null,
      numbers: null,
      images: strings(message["images"]).filter((url) => url.startsWith("data:image/")),
      sources: sources(message["sources"]),
      at: number(message["at"], now),
    };
  });
  return {
    head: {
      id: newId(),
      title: string(head["title"]),
      named: head["named"] === true,
      pinned: head["pinned"] === true,
      created: number(head["created"], now),
      updated: number(head["updated"], now),
      leaf: name(head["leaf"]) ?? messages.at(-1)?.id ?? null,
      model: string(head["model"]),
      system: string(head["system"]),
      parameters: parameters(head["parameters"]),
    },
    messages,
  };
}

/** The branch that is read, as Markdown. */
export function toMarkdown(head: Head, tree: Tree, names: { user: string; assistant: string }): string {
  const parts = thread(tree, head.leaf).map((message) => {
    const who = message.role === "user" ? names.user : message.model || names.assistant;
    return `## ${who}\n\n${message.text.trim()}\n`;
  });
  const system = head.system.trim() === "" ? "" : `> ${head.system.trim().replaceAll("\n", "\n> ")}\n\n`;
  return `# ${head.title}\n\n${system}${parts.join("\n")}`;
}

function sources(value: unknown): Sources | null {
  const { passages, reranker } = record(value);
  if (!Array.isArray(passages)) return null;
  const list = passages.map(record).map(({ file, from, to, text }) => ({
    file: string(file),
    from: number(from, 1),
    to: number(to, 1),
    text: string(text),
  }));
  return { passages: list, reranker: string(reranker) };
}

function parameters(value: unknown): Record<string, number> {
  const known = ["temperature", "top_p", "max_tokens", "seed"];
  return Object.fromEntries(
    Object.entries(record(value)).filter((entry): entry is [string, number] => {
      return known.includes(entry[0]) && typeof entry[1] === "number";
    }),
  );
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function string(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function number(value: unknown, otherwise: number): number {
  return typeof value === "number" && Number.isFinite(value) ? value : otherwise;
}
