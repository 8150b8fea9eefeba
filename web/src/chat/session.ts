// Who is signed in, and which models that gives.

import { computed, signal } from "@preact/signals";
import type { Client } from "../api/client";
import { type Failure, RequestFailed } from "../api/failure";
import { chatModels, type Model } from "../api/models";
import type { Shelf } from "../storage";

const POLL = 5_000;

export class Session {
  readonly key = signal("");
  readonly models = signal<readonly Model[] | null>(null);
  readonly failure = signal<Failure | null>(null);
  readonly checking = signal(false);
  readonly #wanted = signal("");
  /** The model that the person chose, or the first one that is ready. */
  readonly model = computed<Model | null>(() => {
    const models = this.models.value ?? [];
    const wanted = models.find((model) => model.id === this.#wanted.value);
    return wanted ?? models.find((model) => model.state === "ready") ?? models[0] ?? null;
  });
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly base: string,
    private readonly tab: Shelf,
    private readonly device: Shelf,
  ) {
    this.key.value = tab.read("key") ?? "";
    this.#wanted.value = device.read("model") ?? "";
  }

  get client(): Client {
    return { key: this.key.value, base: this.base };
  }

  chooseModel(id: string): void {
    this.#wanted.value = id;
    this.device.write("model", id);
  }

  /** Checks a key by what it opens, and keeps it if it is good. */
  async signIn(key: string): Promise<void> {
    this.key.value = key.trim();
    this.checking.value = true;
    await this.refresh();
    this.checking.value = false;
    if (this.failure.value === null) this.tab.write("key", this.key.value);
  }

  signOut(): void {
    this.tab.write("key", "");
    this.key.value = "";
    this.models.value = null;
    this.failure.value = null;
    clearTimeout(this.#timer);
  }

  /** The key turned out to be wrong: ask for another one, and say why. */
  reject(failure: Failure): void {
    this.signOut();
    this.failure.value = failure;
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.models.value = await chatModels(this.client);
      this.failure.value = null;
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error;
      if (error.failure.kind === "key") return this.reject(error.failure);
      this.failure.value = error.failure;
    }
    // While something is missing it is worth a look now and then.
    const settled = this.failure.value === null && this.models.value?.every((model) => model.state === "ready");
    if (!settled || this.models.value?.length === 0) this.#timer = setTimeout(() => void this.refresh(), POLL);
  }
}
