// Who is signed in, which models that gives, and what the limits leave.

import { computed, signal } from "@preact/signals";
import type { Allowance } from "../api/allowance";
import type { Client } from "../api/client";
import { type Failure, failed, RequestFailed } from "../api/failure";
import { listModels, type Model } from "../api/models";
import type { Shelf } from "../storage";

const POLL = 5_000;
const POLL_QUIET = 30_000;

/** A key that ends by itself, and the way to the next one. */
export interface Renewal {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly renew: () => Promise<{ readonly key: string; readonly renewal: Renewal | null }>;
}

export class Session {
  readonly key = signal("");
  readonly models = signal<readonly Model[] | null>(null);
  readonly failure = signal<Failure | null>(null);
  readonly checking = signal(false);
  readonly allowance = signal<Allowance | null>(null);
  readonly chatModels = computed(() => this.models.value?.filter((model) => model.purpose === "chat") ?? null);
  readonly #wanted = signal("");
  /** The model for new conversations: the one that the person chose last, or the first one that is ready. */
  readonly model = computed<Model | null>(() => this.modelNamed(this.#wanted.value));
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refreshed = 0;
  #renewing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly base: string,
    private readonly tab: Shelf,
    private readonly device: Shelf,
    private readonly seeing: readonly string[] = [],
  ) {
    this.key.value = tab.read("key") ?? device.read("key") ?? "";
    this.#wanted.value = device.read("model") ?? "";
  }

  get client(): Client {
    return { key: this.key.value, base: this.base, heard: (left) => (this.allowance.value = left) };
  }

  /** A model by name; one that is gone is replaced by one that is there. */
  modelNamed(wanted: string): Model | null {
    const models = this.chatModels.value ?? [];
    const named = (id: string): Model | undefined => models.find((model) => model.id === id);
    return named(wanted) ?? named(this.#wanted.value) ?? models.find(({ state }) => state === "ready") ?? models[0] ?? null;
  }

  chooseModel(id: string): void {
    this.#wanted.value = id;
    this.device.write("model", id);
  }

  /** Checks a key by what it opens, and keeps it if it is good. */
  async signIn(key: string, remember = false): Promise<void> {
    this.checking.value = true;
    this.key.value = key.trim();
    this.failure.value = null;
    await this.refresh();
    this.checking.value = false;
    if (this.failure.value !== null) return;
    (remember ? this.device : this.tab).write("key", this.key.value);
  }

  /** Keeps a key that was given by whoever knows it to be good. */
  adopt(key: string, renewal: Renewal | null = null): void {
    this.key.value = key;
    this.tab.write("key", key);
    if (renewal) this.#renewLater(renewal);
    void this.refresh();
  }

  /** Forgets who was signed in. */
  leave(): void {
    this.tab.write("key", "");
    this.device.write("key", "");
    this.key.value = "";
    this.models.value = null;
    this.failure.value = null;
    this.allowance.value = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewing);
  }

  /** An answer failed: if that was the key, another one is needed. */
  heardOf(failure: Failure): void {
    if (failure.kind === "key") this.#reject(failure);
    else void this.refresh();
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.key.value === "") return;
    const key = this.key.value;
    this.#refreshed = Date.now();
    try {
      const models = await listModels(this.client, this.seeing);
      if (key !== this.key.value) return;
      this.models.value = models;
      this.failure.value = null;
    } catch (error) {
      if (key !== this.key.value) return;
      const failure = error instanceof RequestFailed ? error.failure : failed("server", String(error)).failure;
      if (failure.kind === "key") return this.#reject(failure);
      this.failure.value = failure;
    }
    // While something is missing it is worth a look now and then.
    const models = this.models.value ?? [];
    const settled = this.failure.value === null && models.length > 0 && models.every(({ state }) => state === "ready");
    this.#timer = setTimeout(() => void this.refresh(), settled ? POLL_QUIET : POLL);
  }

  /** As `refresh`, but not more often than every other second, however often it is called. */
  refreshSoon(): void {
    if (Date.now() - this.#refreshed > 2_000) void this.refresh();
  }

  /** The key is not good any more. What was said stays: it is the person's. */
  #reject(failure: Failure): void {
    this.leave();
    this.failure.value = failure;
  }

  #renewLater(renewal: Renewal): void {
    clearTimeout(this.#renewing);
    const wait = Math.max(0, renewal.at - Date.now() - 60_000);
    this.#renewing = setTimeout(() => void this.#renew(renewal), Math.min(wait, 2 ** 31 - 1));
  }

  async #renew(renewal: Renewal): Promise<void> {
    try {
      const next = await renewal.renew();
      this.adopt(next.key, next.renewal);
    } catch {
      // The old one is used to its end; then the server says so, and the person signs in again.
    }
  }
}
