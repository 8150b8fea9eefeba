// A conversation that is open or on its way: what is said, what is being said, and every way to go on.

import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Question } from "../api/chat";
import type { Client } from "../api/client";
import { type Failure, failed, RequestFailed } from "../api/failure";
import type { Head } from "../store/records";
import { Answer, type Frames, type Live } from "./answer";
import {
  change,
  children,
  type Message,
  message,
  newestLeaf,
  type Sources,
  thread,
  type Tree,
  turns,
  withMessage,
} from "./tree";

const SAVE_EVERY = 1_000;
const TITLE_LENGTH = 64;

/** What a conversation needs of the rest of the page. */
export interface World {
  readonly client: () => Client;
  /** The model for a conversation that names none; null where there is none to chat with. */
  readonly model: (wanted: string) => string | null;
  readonly save: (head: Head, messages: readonly Message[]) => void;
  readonly failed: (failure: Failure) => void;
  /** Finds what the person's files say to a question; null where there are none. */
  readonly find: (conversation: string, question: string, signal: AbortSignal) => Promise<Sources | null>;
  readonly frames: Frames;
  readonly now: () => number;
}

export type Phase = "searching" | "waiting";

export class Conversation {
  readonly head: Signal<Head>;
  readonly tree: Signal<Tree>;
  /** The answer on its way; it moves each frame and the tree does not. */
  readonly live = signal<Live | null>(null);
  readonly phase = signal<Phase>("waiting");
  /** When the answer on its way was asked for. */
  readonly askedAt = signal(0);
  /** The answer that came to its end last, on this page. */
  readonly ended = signal<string | null>(null);
  /** Another tab writes an answer here. */
  readonly elsewhere = signal(false);
  readonly busy: ReadonlySignal<boolean> = computed(() => this.#running.value || this.elsewhere.value);
  readonly thread = computed(() => thread(this.tree.value, this.head.value.leaf));
  readonly below = computed(() => children(this.tree.value));
  readonly #running = signal(false);
  #abort: AbortController | null = null;
  #saved = 0;

  constructor(
    head: Head,
    messages: readonly Message[],
    private readonly world: World,
  ) {
    this.head = signal(head);
    this.tree = signal(Object.fromEntries(messages.map((item) => [item.id, item])));
  }

  get id(): string {
    return this.head.value.id;
  }

  get running(): boolean {
    return this.#running.value;
  }

  /** Asks. What was typed is a message from here on, whatever becomes of the answer. */
  async send(text: string, images: readonly string[] = []): Promise<void> {
    if (this.busy.value) return;
    await this.#ask(this.head.value.leaf, text, images);
  }

  /** Asks something else in place of an earlier question. */
  async edit(id: string, text: string): Promise<void> {
    const old = this.tree.value[id];
    if (old === undefined || this.busy.value) return;
    await this.#ask(old.parent, text, old.images);
  }

  /** Answers once more; what there was stays beside it, but for an answer that never said anything. */
  async regenerate(id: string): Promise<void> {
    const old = this.tree.value[id];
    if (old === undefined || this.busy.value) return;
    if (old.role === "user") return this.#answer(this.#add(message(id, { role: "assistant", state: "waiting" }, this.world.now())));
    const empty = old.text === "" && old.reasoning === "";
    const fresh = message(old.parent, { role: "assistant", state: "waiting" }, this.world.now());
    await this.#answer(this.#add(empty ? { ...fresh, id: old.id, at: old.at } : fresh));
  }

  /** Writes on where an answer ended too early. */
  async resume(id: string): Promise<void> {
    const old = this.tree.value[id];
    if (old === undefined || old.text.trim() === "" || this.busy.value) return;
    this.#select(id);
    await this.#answer(old, true);
  }

  stop(): void {
    this.#abort?.abort();
  }

  /** Reads another branch: the newest one that goes through this message. */
  choose(id: string): void {
    if (!this.busy.value) this.#select(newestLeaf(this.below.value, id));
  }

  change(fields: Partial<Head>): void {
    this.head.value = { ...this.head.value, ...fields };
    if (this.thread.value.length > 0) this.world.save(this.head.value, []);
  }

  /** Another tab has written. */
  replace(head: Head, messages: readonly Message[]): void {
    if (this.running) return;
    const leaf = this.head.value.leaf;
    batch(() => {
      const tree = Object.fromEntries(messages.map((item) => [item.id, item]));
      const stays = leaf !== null && leaf in tree && !this.elsewhere.value;
      this.head.value = stays ? { ...head, leaf: newestLeaf(children(tree), leaf) } : head;
      this.tree.value = tree;
    });
  }

  /** The message that is being written, as it stands now. */
  unsaved(): Message | null {
    const live = this.live.value;
    const kept = live === null ? undefined : this.tree.value[live.id];
    return live === null || kept === undefined ? null : { ...kept, ...live };
  }

  async #ask(parent: string | null, text: string, images: readonly string[]): Promise<void> {
    const head = this.head.value;
    if (head.title === "") this.head.value = { ...head, title: titleOf(text) };
    const asked = this.#add(message(parent, { role: "user", state: "done", text, images }, this.world.now()));
    await this.#answer(this.#add(message(asked.id, { role: "assistant", state: "waiting" }, this.world.now() + 1)));
  }

  #add(item: Message): Message {
    batch(() => {
      this.tree.value = withMessage(this.tree.value, item);
      this.head.value = { ...this.head.value, leaf: item.id, updated: this.world.now() };
    });
    this.#save(item);
    return item;
  }

  #select(leaf: string): void {
    this.head.value = { ...this.head.value, leaf };
    this.#save();
  }

  async #answer(target: Message, resume = false): Promise<void> {
    const model = this.world.model(this.head.value.model);
    if (model === null) return this.#end(target.id, { state: "failed", failure: failed("server").failure });
    const begin: Live = { id: target.id, text: target.text, reasoning: target.reasoning, numbers: null, state: "waiting" };
    const abort = (this.#abort = new AbortController());
    const answer = new Answer(begin, (live) => this.#draw(live), this.world.frames, this.world.now);
    batch(() => {
      this.#running.value = true;
      this.ended.value = null;
      this.askedAt.value = this.world.now();
      this.live.value = begin;
      this.tree.value = change(this.tree.value, target.id, { state: "waiting", failure: null, model });
    });
    try {
      await this.#search(target, abort.signal);
      await answer.run(this.world.client(), this.#question(target, model, resume), abort.signal);
      const { state } = answer.live;
      this.#end(target.id, { ...answer.live, state: state === "cut" ? "cut" : "done" });
    } catch (error) {
      if (abort.signal.aborted) this.#end(target.id, { ...answer.live, state: "stopped" });
      else this.#end(target.id, { ...answer.live, state: "failed", failure: asFailure(error) });
    }
  }

  /** The passages of the person's files are part of the question, from the first answer on. */
  async #search({ parent }: Message, signal: AbortSignal): Promise<void> {
    const question = parent === null ? undefined : this.tree.value[parent];
    if (question === undefined || question.role !== "user" || question.sources !== null) return;
    this.phase.value = "searching";
    try {
      const sources = await this.world.find(this.id, question.text, signal);
      if (sources !== null) {
        this.tree.value = change(this.tree.value, question.id, { sources });
        this.#save(this.tree.value[question.id]);
      }
    } finally {
      this.phase.value = "waiting";
    }
  }

  #question(target: Message, model: string, resume: boolean): Question {
    const { system, parameters } = this.head.value;
    const path = thread(this.tree.value, target.parent);
    if (!resume) return { model, messages: turns(path, system), ...parameters };
    const begun = { ...target, text: target.text.trimEnd() };
    return { model, messages: turns([...path, begun], system), ...parameters, resume };
  }

  #draw(live: Live): void {
    this.live.value = live;
    if (this.world.now() - this.#saved < SAVE_EVERY) return;
    this.#save(this.unsaved() ?? undefined);
  }

  #end(id: string, fields: Partial<Message>): void {
    batch(() => {
      this.tree.value = change(this.tree.value, id, fields);
      this.head.value = { ...this.head.value, updated: this.world.now() };
      this.live.value = null;
      this.ended.value = id;
      this.#running.value = false;
    });
    this.#abort = null;
    this.#save(this.tree.value[id]);
    if (fields.failure) this.world.failed(fields.failure);
  }

  #save(...items: (Message | undefined)[]): void {
    this.#saved = this.world.now();
    this.world.save(
      this.head.value,
      items.filter((item) => item !== undefined),
    );
  }
}

function asFailure(error: unknown): Failure {
  return error instanceof RequestFailed ? error.failure : failed("server", String(error)).failure;
}

/** The first line of what was asked. */
export function titleOf(text: string): string {
  const line = text.trim().split("\n", 1)[0]?.trim() ?? "";
  const letters = Array.from(line);
  return letters.length <= TITLE_LENGTH ? line : `${letters.slice(0, TITLE_LENGTH - 1).join("").trimEnd()}…`;
}
