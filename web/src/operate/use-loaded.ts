import { useCallback, useEffect, useState } from "preact/hooks";
import { type Failure, failed, RequestFailed } from "../api/failure";

export interface Loaded<T> {
  readonly value: T | null;
  readonly failure: Failure | null;
  readonly again: () => void;
}

export function failureOf(error: unknown): Failure {
  return error instanceof RequestFailed ? error.failure : failed("server", String(error)).failure;
}

/** What a call brings; asked for again each `every` milliseconds, and when `depends` changes. */
export function useLoaded<T>(get: () => Promise<T>, depends: readonly unknown[], every = 0): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let wanted = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      try {
        const found = await get();
        if (!wanted) return;
        setValue(() => found);
        setFailure(null);
      } catch (error) {
        if (wanted) setFailure(failureOf(error));
      }
      if (wanted && every > 0) timer = setTimeout(() => void look(), every);
    };
    void look();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [...depends, turn]);
  return { value, failure, again: useCallback(() => setTurn((count) => count + 1), []) };
}
