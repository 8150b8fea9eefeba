import { expect, it } from "vitest";
import { choose } from "../src/i18n";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";

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

it("says everything in both languages, with the same numbers", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const [name, text] of Object.entries(en)) {
    const other = zh[name as keyof typeof zh];
    if (typeof text === "string") {
      expect(other, name).toBeTruthy();
    } else {
      const numbers = (phrase: Phrase): string[] => phrase(17, 23).match(/17|23/g) ?? [];
      expect(numbers(other as Phrase), name).toEqual(numbers(text as Phrase));
    }
  }
});
