import { expect, it } from "vitest";
import { message, type Message } from "../src/chat/tree";
import { Keeper } from "../src/store/keeper";
import type { Library } from "../src/store/library";
import type { Head } from "../src/store/records";

const HEAD: Head = {
  id: "c", title: "t", named: false, pinned: false, created: 1, updated: 1, leaf: null, model: "", system: "", parameters: {},
}; // prettier-ignore

/** A library with room for so many writes. */
class Narrow {
  room = 0;
  readonly kept = new Map<string, string>();
  title = "";
  writes = 0;

  async save(head: Head, messages: readonly Message[]): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (this.room-- <= 0) throw new DOMException("full", "QuotaExceededError");
    this.writes++;
    this.title = head.title;
    for (const { id, text } of messages) this.kept.set(id, text);
  }
}

function said(id: string, text: string): Message {
  return { ...message(null, { role: "user", state: "done", text }, 1), id };
}

it("keeps all that was refused, and of each message the newest version", async () => {
  const library = new Narrow();
  const keeper = new Keeper(library as unknown as Library);
  keeper.save(HEAD, [said("a", "one")]);
  await Promise.resolve();
  await Promise.resolve();
  keeper.save({ ...HEAD, title: "newer" }, [said("a", "two"), said("b", "first")]); // while the other one is refused
  await keeper.settled();
  keeper.save({ ...HEAD, title: "newest" }, [said("c", "last")]);
  await keeper.settled();
  expect(keeper.full.value).toBe(true);
  library.room = 1;
  keeper.save({ ...HEAD, title: "newest" });
  await keeper.settled();
  expect(keeper.full.value).toBe(false);
  expect([...library.kept]).toEqual([["a", "two"], ["b", "first"], ["c", "last"]]);
  expect(library.title).toBe("newest");
});

it("writes together what changes together", async () => {
  const library = new Narrow();
  library.room = 9;
  const keeper = new Keeper(library as unknown as Library);
  keeper.save(HEAD, [said("a", "one")]);
  keeper.save(HEAD, [said("b", "two")]);
  await keeper.settled();
  expect(library.writes).toBe(1);
  expect(library.kept.size).toBe(2);
});

it("does not write what was removed meanwhile", async () => {
  const library = new Narrow();
  library.room = 9;
  const keeper = new Keeper(library as unknown as Library);
  keeper.save(HEAD, [said("a", "one")]);
  keeper.drop("c");
  await keeper.settled();
  expect(library.writes).toBe(0);
});
