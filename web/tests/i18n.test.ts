import { expect, it } from "vitest";
import { choose } from "../src/i18n";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";
import { WORDS } from "../src/operate/words";

it.each([
  [null, ["zh-CN", "en"], "zh"],
  [null, ["fr", "zh-Hant-TW"], "zh"],
  [null, ["fr"], "en"],
  [null, [], "en"],
  ["en", ["zh"], "en"],
  ["xx", ["zh"], "zh"],
])("stored %j and wanted %j is %s", (stored, wanted, expected) => {
  expect(choose(stored, wanted)).toBe(expected);
});

type Phrase = (...numbers: number[]) => string;

it.each([
  ["the page", en, zh],
  ["the operator's view", WORDS.en, WORDS.zh],
])("says everything of %s in both languages, with the same numbers", (_, one, two) => {
  expect(Object.keys(two).sort()).toEqual(Object.keys(one).sort());
  const others: Record<string, unknown> = { ...two };
  for (const [name, text] of Object.entries(one) as [string, unknown][]) {
    if (typeof text === "string") {
      expect(others[name], name).toBeTruthy();
    } else {
      const numbers = (phrase: Phrase): string[] => phrase(17, 23).match(/17|23/g) ?? [];
      expect(numbers(others[name] as Phrase), name).toEqual(numbers(text as Phrase));
    }
  }
});
