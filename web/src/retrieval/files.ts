// The person's files of a conversation: read here, embedded by the platform, kept in this browser.

import { signal } from "@preact/signals";
import type { Chat } from "../chat/chat";
import { newId } from "../chat/id";
import type { Session } from "../chat/session";
import type { Sources } from "../chat/tree";
import { type Failure, failed, RequestFailed } from "../api/failure";
import type { Model, Purpose } from "../api/models";
import type { Library } from "../store/library";
import type { Document } from "../store/records";

const LARGEST = 4 * 1024 * 1024;
/** Tokens of a passage; less where the model reads less. */
const PASSAGE = 220;
const SAMPLE = 4096;

export type Problem = "notText" | "tooLarge" | "empty" | "noModel" | Failure;

/** A file on its way in, or one that did not get in. */
export interface Reading {
  readonly id: string;
  readonly conversation: string;
  readonly file: File;
  readonly done: number;
  readonly all: number;
  readonly problem: Problem | null;
}

export class Files {
  readonly documents = signal<readonly Document[]>([]);
  readonly readings = signal<readonly Reading[]>([]);
  #of = "";

  constructor(
    private readonly session: Session,
    private readonly library: Library,
    private readonly chat: Chat,
  ) {
    chat.find = (conversation, question, signal) => this.#find(conversation, question, signal);
  }

  /** The embedding model that is used; null where the key may use none. */
  get embedder(): Model | null {
    return this.#first("embedding");
  }

  async show(conversation: string): Promise<void> {
    if (this.#of === conversation) return;
    this.#of = conversation;
    this.documents.value = [];
    const documents = await this.library.documents(conversation);
    if (this.#of === conversation) this.documents.value = [...documents, ...this.documents.value];
  }

  async add(files: readonly File[]): Promise<void> {
    const conversation = this.chat.current.value.id;
    this.#of = conversation;
    await Promise.all(files.map((file) => this.#add({ id: newId(), conversation, file, done: 0, all: 0, problem: null })));
  }

  async retry(reading: Reading): Promise<void> {
    await this.#add({ ...reading, done: 0, problem: null });
  }

  async remove(id: string): Promise<void> {
    this.readings.value = this.readings.value.filter((reading) => reading.id !== id);
    this.documents.value = this.documents.value.filter((document) => document.id !== id);
    await this.library.removeDocument(id);
  }

  async #add(reading: Reading): Promise<void> {
    this.#update(reading);
    try {
      const document = await this.#read(reading);
      await this.library.addDocument(document).catch(() => undefined); // a full storage: it lasts as long as the page
      this.readings.value = this.readings.value.filter(({ id }) => id !== reading.id);
      if (this.#of === reading.conversation) this.documents.value = [...this.documents.value, document];
    } catch (error) {
      this.#update({ ...reading, problem: problemOf(error) });
    }
  }

  async #read(reading: Reading): Promise<Document> {
    const { id, conversation, file } = reading;
    const model = this.embedder;
    if (model === null) throw new Unreadable("noModel");
    if (file.size > LARGEST) throw new Unreadable("tooLarge");
    const text = textOf(await file.arrayBuffer());
    const [{ split }, { embed }] = await Promise.all([import("./split"), import("./rank")]);
    const size = Math.min(PASSAGE, Math.floor((model.context ?? PASSAGE) * 0.8));
    const cuts = split(text, size, /\.(csv|tsv)$/i.test(file.name));
    if (cuts.length === 0) throw new Unreadable("empty");
    const texts = cuts.map((cut) => cut.text);
    this.#update({ ...reading, all: cuts.length });
    const vectors = await embed(this.session.client, model.id, texts, undefined, (done) => {
      if (this.readings.value.every((other) => other.id !== id)) throw new Unreadable("empty"); // it was taken away
      this.#update({ ...reading, all: cuts.length, done });
    });
    const passages = cuts.map((cut, index) => ({ ...cut, vector: vectors[index] ?? new Float32Array() }));
    return { id, conversation, name: file.name, size: file.size, model: model.id, passages };
  }

  async #find(conversation: string, question: string, signal: AbortSignal): Promise<Sources | null> {
    const open = this.#of === conversation ? this.documents.value : await this.library.documents(conversation);
    const model = this.embedder;
    const documents = open.filter((document) => document.model === model?.id);
    if (model === null || documents.length === 0 || question.trim() === "") return null;
    const { choose, embed, nearest } = await import("./rank");
    const { estimate, split } = await import("./split");
    const short = estimate(question) <= PASSAGE ? question : (split(question, PASSAGE, false)[0]?.text ?? question);
    const [vector] = await embed(this.session.client, model.id, [short], signal);
    if (vector === undefined) return null;
    const reranker = this.#first("rerank")?.id ?? null;
    return choose(this.session.client, reranker, short, nearest(documents, vector), signal);
  }

  #first(purpose: Purpose): Model | null {
    const models = this.session.models.value?.filter((model) => model.purpose === purpose) ?? [];
    return models.find((model) => model.state === "ready") ?? models[0] ?? null;
  }

  #update(reading: Reading): void {
    const others = this.readings.value;
    const at = others.findIndex(({ id }) => id === reading.id);
    this.readings.value = at < 0 ? [...others, reading] : others.with(at, reading);
  }
}

class Unreadable extends Error {
  constructor(readonly problem: Problem) {
    super();
  }
}

function problemOf(error: unknown): Problem {
  if (error instanceof Unreadable) return error.problem;
  return error instanceof RequestFailed ? error.failure : failed("server", String(error)).failure;
}

/** The text of a file, in UTF-8 or what a byte order mark says. Throws Unreadable. */
function textOf(bytes: ArrayBuffer): string {
  const [first, second] = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength));
  const encoding = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new Unreadable("notText");
  }
  if (text.slice(0, SAMPLE).includes("\0")) throw new Unreadable("notText");
  if (text.trim() === "") throw new Unreadable("empty");
  return text;
}
