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
}

/** Ends with the tab: the key, what is typed, what was said. */
export const tab = new Shelf(() => sessionStorage);
/** Stays on the device: tastes. */
export const device = new Shelf(() => localStorage);
