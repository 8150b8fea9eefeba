import { signal } from "@preact/signals";
import { device } from "./storage";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const theme = signal<Theme>("auto");

export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  document.documentElement.dataset["theme"] = chosen;
  device.write("theme", chosen === "auto" ? "" : chosen);
}

export function storedTheme(): Theme {
  const stored = device.read("theme");
  return THEMES.find((theme) => theme === stored) ?? "auto";
}
