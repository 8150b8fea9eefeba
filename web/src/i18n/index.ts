import { computed, signal } from "@preact/signals";
import { device } from "../storage";
import { en, type Strings } from "./en";
import { zh } from "./zh";

export const LANGUAGES = { en: "English", zh: "中文" } as const;
export type Language = keyof typeof LANGUAGES;

const STRINGS: Record<Language, Strings> = { en, zh };

/** The first of the wanted languages that there is; else English. */
export function choose(stored: string | null, wanted: readonly string[]): Language {
  const codes = [stored ?? "", ...wanted].map((code) => code.toLowerCase().split("-")[0] ?? "");
  return (codes.find((code) => code in STRINGS) as Language | undefined) ?? "en";
}

export const language = signal<Language>("en");
export const strings = computed<Strings>(() => STRINGS[language.value]);

export function setLanguage(chosen: Language): void {
  language.value = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : chosen;
  device.write("language", chosen);
}
