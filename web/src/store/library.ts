// The conversations of this browser, in IndexedDB. Where the browser refuses that, they last as long as the page.

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Message } from "../chat/tree";
import type { Document, Head, Row } from "./records";

interface Schema extends DBSchema {
  heads: { key: string; value: Head };
  messages: { key: string; value: Row; indexes: { conversation: string } };
  documents: { key: string; value: Document; indexes: { conversation: string } };
}

const STORES = ["heads", "messages", "documents"] as const;

export interface Library {
  /** False if nothing outlives the page. */
  readonly lasting: boolean;
  heads(): Promise<Head[]>;
  head(id: string): Promise<Head | undefined>;
  messages(conversation: string): Promise<Message[]>;
  /** Both or none. Throws QuotaExceededError where the browser's storage is full. */
  save(head: Head, messages: readonly Message[]): Promise<void>;
  remove(conversation: string): Promise<void>;
  documents(conversation: string): Promise<Document[]>;
  addDocument(document: Document): Promise<void>;
  removeDocument(id: string): Promise<void>;
  /** The conversations in which a message has all the words. */
  search(words: readonly string[]): Promise<Set<string>>;
  clear(): Promise<void>;
}

export async function openLibrary(name = "headrace"): Promise<Library> {
  try {
    const database = await openDB<Schema>(name, 1, {
      upgrade(created) {
        created.createObjectStore("heads", { keyPath: "id" });
        created.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
        created.createObjectStore("documents", { keyPath: "id" }).createIndex("conversation", "conversation");
      },
      blocking(_current, _blocked, event) {
        (event.target as IDBDatabase).close(); // a newer page, in another tab, wants to upgrade
      },
    });
    return new Stored(database);
  } catch {
    return new Fleeting();
  }
}

class Stored implements Library {
  readonly lasting = true;

  constructor(private readonly database: IDBPDatabase<Schema>) {}

  heads(): Promise<Head[]> {
    return this.database.getAll("heads");
  }

  head(id: string): Promise<Head | undefined> {
    return this.database.get("heads", id);
  }

  messages(conversation: string): Promise<Message[]> {
    return this.database.getAllFromIndex("messages", "conversation", conversation);
  }

  async save(head: Head, messages: readonly Message[]): Promise<void> {
    const transaction = this.database.transaction(["heads", "messages"], "readwrite");
    const rows = transaction.objectStore("messages");
    const writes = messages.map((message) => rows.put({ ...message, conversation: head.id }));
    await settle([transaction.objectStore("heads").put(head), ...writes], transaction.done);
  }

  async remove(conversation: string): Promise<void> {
    const transaction = this.database.transaction(STORES, "readwrite");
    const writes: Promise<unknown>[] = [transaction.objectStore("heads").delete(conversation)];
    for (const name of ["messages", "documents"] as const) {
      const rows = transaction.objectStore(name);
      const keys = await rows.index("conversation").getAllKeys(conversation);
      writes.push(...keys.map((key) => rows.delete(key)));
    }
    await settle(writes, transaction.done);
  }

  documents(conversation: string): Promise<Document[]> {
    return this.database.getAllFromIndex("documents", "conversation", conversation);
  }

  async addDocument(document: Document): Promise<void> {
    const transaction = this.database.transaction("documents", "readwrite");
    await settle([transaction.store.put(document)], transaction.done);
  }

  async removeDocument(id: string): Promise<void> {
    await this.database.delete("documents", id);
  }

  async search(words: readonly string[]): Promise<Set<string>> {
    const found = new Set<string>();
    let cursor = await this.database.transaction("messages").store.openCursor();
    while (cursor) {
      const { conversation, text } = cursor.value;
      if (!found.has(conversation) && has(text, words)) found.add(conversation);
      cursor = await cursor.continue();
    }
    return found;
  }

  async clear(): Promise<void> {
    const transaction = this.database.transaction(STORES, "readwrite");
    await settle(
      STORES.map((name) => transaction.objectStore(name).clear()),
      transaction.done,
    );
  }
}

/** A request that fails aborts its transaction: the reason is the transaction's, and both would be reported. */
async function settle(writes: readonly Promise<unknown>[], done: Promise<void>): Promise<void> {
  const outcomes = await Promise.allSettled([done, ...writes]);
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}

class Fleeting implements Library {
  readonly lasting = false;
  readonly #heads = new Map<string, Head>();
  readonly #rows = new Map<string, Row>();
  readonly #documents = new Map<string, Document>();

  async heads(): Promise<Head[]> {
    return [...this.#heads.values()];
  }
  async head(id: string): Promise<Head | undefined> {
    return this.#heads.get(id);
  }
  async messages(conversation: string): Promise<Message[]> {
    return [...this.#rows.values()].filter((row) => row.conversation === conversation);
  }
  async save(head: Head, messages: readonly Message[]): Promise<void> {
    this.#heads.set(head.id, head);
    for (const message of messages) this.#rows.set(message.id, { ...message, conversation: head.id });
  }
  async remove(conversation: string): Promise<void> {
    this.#heads.delete(conversation);
    for (const map of [this.#rows, this.#documents]) {
      for (const [id, item] of map) if (item.conversation === conversation) map.delete(id);
    }
  }
  async documents(conversation: string): Promise<Document[]> {
    return [...this.#documents.values()].filter((document) => document.conversation === conversation);
  }
  async addDocument(document: Document): Promise<void> {
    this.#documents.set(document.id, document);
  }
  async removeDocument(id: string): Promise<void> {
    this.#documents.delete(id);
  }
  async search(words: readonly string[]): Promise<Set<string>> {
    return new Set([...this.#rows.values()].filter(({ text }) => has(text, words)).map((row) => row.conversation));
  }
  async clear(): Promise<void> {
    for (const map of [this.#heads, this.#rows, this.#documents]) map.clear();
  }
}

function has(text: string, words: readonly string[]): boolean {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}
