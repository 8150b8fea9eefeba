// Parts of the page that come when they are needed.

import { signal } from "@preact/signals";

export interface Later<T> {
  /** The part, or null while it is on its way; for use while drawing. */
  readonly use: () => T | null;
  readonly load: () => Promise<T | null>;
}

export function later<T>(get: () => Promise<T>): Later<T> {
  const part = signal<T | null>(null);
  let coming: Promise<T | null> | null = null;
  const load = (): Promise<T | null> =>
    (coming ??= get().then(
      (value) => (part.value = value),
      () => (coming = null), // offline, or a newer page was put in place: the next use tries again
    ));
  return {
    load,
    use() {
      if (part.value === null) void load();
      return part.value;
    },
  };
}
