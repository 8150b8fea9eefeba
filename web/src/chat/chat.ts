// All conversations: which one is open, which ones are on their way, and the list of them.

import { computed, type Signal, signal } from "@preact/signals";
import type { Parameters } from "../api/chat";
import { Keeper } from "../store/keeper";
import type { Library } from "../store/library";
import type { Head } from "../store/records";
import { collect, leave } from "../store/rescue";
import type { News, Tabs } from "../store/tabs";
import { type Copy, fromJson, toJson } from "../store/transfer";
import type { Shelf } from "../storage";
import { onFrame } from "./answer";
import { Conversation, type World } from "./conversation";
import { newId } from "./id";
import type { Session } from "./session";
import { isMoving, type Message, settled } from "./tree";

const LOOK_EVERY = 2_000;

export interface Defaults {
  readonly system: string;
  readonly parameters: Parameters;
}

export class Chat {
  readonly heads = signal<readonly Head[]>([]);
  readonly current: Signal<Conversation>;
  readonly draft = signal("");
  /** Finds passages in the files of a conversation; set once that part of the page is there. */
  find: World["find"] = async () => null;
  readonly keeper: Keeper;
  readonly sorted = computed(() => [...this.heads.value].sort((a, b) => b.updated - a.updated));
  readonly #alive = new Map<string, Conversation>();
  readonly #removed = new Set<string>();
  readonly #world: World;

  constructor(
    readonly session: Session,
    readonly library: Library,
    private readonly tabs: Tabs,
    private readonly tab: Shelf,
    private readonly device: Shelf,
    private readonly now: () => number = Date.now,
    frames = onFrame,
  ) {
    this.keeper = new Keeper(library, (conversation) => tabs.tell({ kind: "changed", conversation }));
    this.#world = {
      client: () => session.client,
      model: (wanted) => session.modelNamed(wanted)?.id ?? null,
      save: (head, messages) => this.#save(head, messages),
      failed: (failure) => session.heardOf(failure),
      find: (...question) => this.find(...question),
      frames,
      now,
    };
    this.current = signal(this.#blank());
    this.#alive.set(this.current.value.id, this.current.value);
    this.draft.value = this.#storedDraft();
    tabs.heard = (news) => void this.#hear(news);
    tabs.writes = (message) => [...this.#alive.values()].some(({ live }) => live.value?.id === message);
  }

  /** Reads the list, and what the page before had no time to write. */
  async start(): Promise<void> {
    for (const { conversation, message } of collect(this.tab)) {
      const head = await this.library.head(conversation);
      if (head) await this.library.save(head, [message]).catch(() => undefined);
    }
    this.heads.value = await this.library.heads();
  }

  /** For a page that comes back as it was: what it left behind is older than what it has. */
  returned(): void {
    leave(this.tab, []);
  }

  /** For `pagehide`. */
  leave(): void {
    const list = [...this.#alive.values()].map((item) => ({ conversation: item.id, message: item.unsaved() }));
    leave(this.tab, list.filter((item): item is { conversation: string; message: Message } => item.message !== null));
  }

  type(text: string): void {
    this.draft.value = text;
    const name = this.#draftName();
    this.device.write(name, text);
    if (name === "draft.new") this.tab.write(name, text);
  }

  isRunning(id: string): boolean {
    const open = this.current.value.id === id ? this.current.value : this.#alive.get(id);
    return open?.busy.value ?? false;
  }

  /** A conversation that nothing was said in yet; one of those is enough. */
  fresh(): void {
    if (this.current.value.thread.value.length > 0) this.#show(this.#blank());
  }

  /** False if there is none of this name. */
  async open(id: string): Promise<boolean> {
    if (this.current.value.id === id) return true;
    const found = this.#alive.get(id) ?? (await this.#load(id));
    if (found === null) return false;
    this.#show(found);
    return true;
  }

  async send(images: readonly string[] = []): Promise<void> {
    const text = this.draft.value.trim();
    const conversation = this.current.value;
    if ((text === "" && images.length === 0) || conversation.busy.value) return;
    if (this.session.modelNamed(conversation.head.value.model) === null) return; // what is typed stays in the box
    this.type("");
    await conversation.send(text, images);
  }

  change(id: string, fields: Partial<Head>): void {
    const open = this.#alive.get(id) ?? (this.current.value.id === id ? this.current.value : undefined);
    if (open) return open.change(fields);
    const head = this.heads.value.find((item) => item.id === id);
    if (head) this.#save({ ...head, ...fields }, []);
  }

  /** Removes, and gives what is needed to undo it. */
  async remove(id: string): Promise<Copy | null> {
    const copy = await this.copy(id);
    this.#removed.add(id);
    this.#alive.get(id)?.stop();
    this.keeper.drop(id);
    await this.keeper.settled();
    await this.library.remove(id);
    this.#gone(id);
    this.tabs.tell({ kind: "removed", conversation: id });
    return copy;
  }

  async copy(id: string): Promise<Copy | null> {
    const open = this.current.value.id === id ? this.current.value : this.#alive.get(id);
    if (open) return { head: open.head.value, messages: Object.values(open.tree.value) };
    const head = await this.library.head(id);
    return head ? { head, messages: await this.library.messages(id) } : null;
  }

  restore(copies: readonly Copy[]): void {
    for (const { head, messages } of copies) {
      this.#removed.delete(head.id);
      this.#save(head, messages.map(settled));
    }
  }

  async exportAll(): Promise<string> {
    const copies = await Promise.all(this.sorted.value.map(({ id }) => this.copy(id)));
    return toJson(copies.filter((copy) => copy !== null));
  }

  /** How many came. Throws NotReadable. */
  import(text: string): number {
    const copies = fromJson(text, this.now());
    this.restore(copies);
    return copies.length;
  }

  get defaults(): Defaults {
    try {
      const stored = JSON.parse(this.device.read("defaults") ?? "{}") as Partial<Defaults>;
      return { system: stored.system ?? "", parameters: stored.parameters ?? {} };
    } catch {
      return { system: "", parameters: {} };
    }
  }

  set defaults(defaults: Defaults) {
    this.device.write("defaults", JSON.stringify(defaults));
  }

  /** Forgets everything that is said, typed and set, in every tab, but for the tastes that are named. */
  async clear(tastes: readonly string[] = []): Promise<void> {
    for (const conversation of this.#alive.values()) conversation.stop();
    await this.keeper.settled();
    this.keeper.dropAll();
    await this.library.clear();
    this.device.clear(tastes);
    this.forget();
    this.tabs.tell({ kind: "left" });
  }

  /** The same for what this tab holds. */
  forget(): void {
    for (const conversation of this.#alive.values()) conversation.stop();
    this.#alive.clear();
    this.keeper.dropAll();
    this.heads.value = [];
    this.tab.clear();
    this.#show(this.#blank());
  }

  #save(head: Head, messages: readonly Message[]): void {
    // A conversation that was removed while its answer was on its way is not to come back.
    if (this.#removed.has(head.id)) return;
    const others = this.heads.value.filter((item) => item.id !== head.id);
    this.heads.value = [...others, head];
    this.keeper.save(head, messages);
  }

  #blank(): Conversation {
    const now = this.now();
    const { system, parameters } = this.defaults;
    const head = { id: newId(), title: "", named: false, pinned: false, created: now, updated: now, leaf: null, model: "" };
    return new Conversation({ ...head, system, parameters }, [], this.#world);
  }

  #show(conversation: Conversation): void {
    const before = this.current.value;
    this.current.value = conversation;
    if (!before.running) this.#alive.delete(before.id);
    this.#alive.set(conversation.id, conversation);
    this.draft.value = this.#storedDraft();
  }

  async #load(id: string): Promise<Conversation | null> {
    await this.keeper.settled();
    const head = await this.library.head(id);
    if (!head) return null;
    const messages = await this.library.messages(id);
    const moving = messages.filter(isMoving);
    const written = await Promise.all(moving.map((message) => this.tabs.isWritten(message.id)));
    const elsewhere = written.includes(true);
    const conversation = new Conversation(head, elsewhere ? messages : messages.map(settled), this.#world);
    if (elsewhere) this.#follow(conversation);
    return conversation;
  }

  #storedDraft(): string {
    const name = this.#draftName();
    const own = name === "draft.new" ? this.tab.read(name) : null;
    return own ?? this.device.read(name) ?? "";
  }

  #draftName(): string {
    const { id, thread } = this.current.value;
    return thread.value.length === 0 ? "draft.new" : `draft.${id}`;
  }

  #gone(id: string): void {
    this.#removed.add(id);
    this.heads.value = this.heads.value.filter((head) => head.id !== id);
    this.device.write(`draft.${id}`, "");
    if (this.current.value.id === id) this.#show(this.#blank());
    this.#alive.delete(id);
  }

  async #hear(news: News): Promise<void> {
    if (news.kind === "left") {
      this.forget();
      this.session.leave();
    } else if (news.kind === "removed") {
      this.keeper.drop(news.conversation);
      this.#gone(news.conversation);
    } else if (news.kind === "changed") {
      await this.#changed(news.conversation);
    }
  }

  async #changed(id: string): Promise<void> {
    const head = await this.library.head(id);
    if (!head) return;
    this.heads.value = [...this.heads.value.filter((item) => item.id !== id), head];
    const open = this.current.value.id === id ? this.current.value : this.#alive.get(id);
    if (!open || open.running) return;
    const messages = await this.library.messages(id);
    open.replace(head, messages);
    if (messages.some(isMoving)) this.#follow(open);
    else open.elsewhere.value = false;
  }

  /** Watches an answer that another tab writes: that tab may be closed before its end. */
  #follow(conversation: Conversation): void {
    if (conversation.elsewhere.value) return;
    conversation.elsewhere.value = true;
    const look = async (): Promise<void> => {
      const moving = Object.values(conversation.tree.value).find(isMoving);
      if (!conversation.elsewhere.value || moving === undefined) return;
      if (await this.tabs.isWritten(moving.id)) return void setTimeout(() => void look(), LOOK_EVERY);
      conversation.elsewhere.value = false;
      conversation.replace(conversation.head.value, Object.values(conversation.tree.value).map(settled));
    };
    setTimeout(() => void look(), LOOK_EVERY);
  }
}
