// What the tabs of this browser tell each other.

export type News =
  | { readonly kind: "changed"; readonly conversation: string }
  | { readonly kind: "removed"; readonly conversation: string }
  | { readonly kind: "left" } // signed out, everything is gone
  | { readonly kind: "who"; readonly message: string } // does anybody still write this answer?
  | { readonly kind: "mine"; readonly message: string }
  | { readonly kind: "key?" } // a new tab asks who is signed in
  | { readonly kind: "key"; readonly key: string };

const ANSWER_WITHIN = 400;

export interface Line {
  postMessage(news: News): void;
  onmessage: ((event: MessageEvent<News>) => void) | null;
}

export class Tabs {
  /** Set by whoever wants to know. */
  heard: (news: News) => void = () => undefined;
  /** Whether this tab writes the answer. */
  writes: (message: string) => boolean = () => false;
  /** The key that this tab has; empty if none. */
  key: () => string = () => "";
  #gotKey: (key: string) => void = () => undefined;
  readonly #asked = new Map<string, () => void>();
  readonly #line: Line;

  constructor(line: Line = new BroadcastChannel("headrace")) {
    this.#line = line;
    line.onmessage = ({ data }) => this.#take(data);
  }

  tell(news: News): void {
    this.#line.postMessage(news);
  }

  /** Whether another tab writes the answer. Tabs in the background answer too: only their timers are slow. */
  isWritten(message: string, within = ANSWER_WITHIN): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (written: boolean): void => {
        clearTimeout(timer);
        this.#asked.delete(message);
        resolve(written);
      };
      const timer = setTimeout(() => end(false), within);
      this.#asked.set(message, () => end(true));
      this.tell({ kind: "who", message });
    });
  }

  /** The key of another tab: a second tab of the same browser is signed in, too. Null if no tab has one. */
  askForKey(within = ANSWER_WITHIN): Promise<string | null> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), within);
      this.#gotKey = (key) => {
        clearTimeout(timer);
        resolve(key);
      };
      this.tell({ kind: "key?" });
    });
  }

  #take(news: News): void {
    switch (news.kind) {
      case "who":
        return this.writes(news.message) ? this.tell({ kind: "mine", message: news.message }) : undefined;
      case "mine":
        return this.#asked.get(news.message)?.();
      case "key?":
        return this.key() === "" ? undefined : this.tell({ kind: "key", key: this.key() });
      case "key":
        return this.#gotKey(news.key);
      default:
        return this.heard(news);
    }
  }
}
