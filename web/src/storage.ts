// What the browser keeps. It may refuse (private windows, full quota): then the page works on without.

export class Shelf {
  constructor(
    private readonly storage: () => Storage,
    private readonly prefix = "headrace.",
  ) {}

  read(name: string): string | null {
    try {
      return this.storage().getItem(this.prefix + name);
    } catch {
      return null;
    }
  }

  /** False if the browser refused; an empty value removes. */
  write(name: string, value: string): boolean {
    try {
      if (value === "") this.storage().removeItem(this.prefix + name);
      else this.storage().setItem(this.prefix + name, value);
      return true;
    } catch {
      return false;
    }
  }

  /** Removes everything of ours but what is named. */
  clear(kept: readonly string[] = []): void {
    try {
      const storage = this.storage();
      const names = Array.from({ length: storage.length }, (_, index) => storage.key(index) ?? "");
      for (const name of names) {
        if (name.startsWith(this.prefix) && !kept.includes(name.slice(this.prefix.length))) storage.removeItem(name);
      }
    } catch {
      // a browser that refuses has nothing to remove
    }
  }
}

/** Ends with the tab: the key, what is open. */
export const tab = new Shelf(() => sessionStorage);
/** Stays on the device: tastes, what is typed, a key that is to be remembered. */
export const device = new Shelf(() => localStorage);
