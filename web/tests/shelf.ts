import { Shelf } from "../src/storage";

/** A browser's storage for tests; `full` makes it refuse. */
export class Memory implements Storage {
  readonly items = new Map<string, string>();
  full = false;

  get length(): number {
    return this.items.size;
  }
  clear(): void {
    this.items.clear();
  }
  getItem(name: string): string | null {
    return this.items.get(name) ?? null;
  }
  key(index: number): string | null {
    return [...this.items.keys()][index] ?? null;
  }
  removeItem(name: string): void {
    this.items.delete(name);
  }
  setItem(name: string, value: string): void {
    if (this.full) throw new DOMException("full", "QuotaExceededError");
    this.items.set(name, value);
  }
}

export function shelf(memory = new Memory()): Shelf {
  return new Shelf(() => memory);
}
