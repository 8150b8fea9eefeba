import { expect, it } from "vitest";
import type { Head } from "../src/store/records";
import { groups } from "../src/ui/groups";

const DAY = 86_400_000;

it("puts conversations under their day, and pinned ones first", () => {
  const now = new Date(2026, 2, 10, 15).getTime();
  const head = (id: string, ago: number, pinned = false): Head => ({
    id, title: id, named: false, pinned, created: 0, updated: now - ago, leaf: null, model: "", system: "", parameters: {},
  }); // prettier-ignore
  const heads = [head("now", 0), head("late", 16 * 3_600_000), head("days", 4 * DAY), head("old", 30 * DAY), head("pin", 90 * DAY, true)];
  expect(groups(heads, now).map(([group, members]) => [group, members.map(({ id }) => id)])).toEqual([
    ["pinned", ["pin"]],
    ["today", ["now"]],
    ["yesterday", ["late"]],
    ["week", ["days"]],
    ["older", ["old"]],
  ]);
});
