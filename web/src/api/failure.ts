// What can go wrong, in the terms of a person.

export type FailureKind =
  | "key" // 401: no key, or not a valid one
  | "forbidden" // 403: the key may not do this
  | "limit" // 429: the key's own limit
  | "overloaded" // 503: the capacity of the platform
  | "request" // another 4xx: says what to change
  | "server" // another 5xx
  | "offline" // no answer at all
  | "interrupted"; // the answer broke off

export interface Failure {
  readonly kind: FailureKind;
  /** What the server said, in its own words. */
  readonly detail: string;
  /** When to try again, in milliseconds since 1970; null if the server did not say. */
  readonly retryAt: number | null;
}

export class RequestFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.detail || failure.kind);
  }
}

/** Reads an answer that is not a success. */
export async function refused(response: Response, now: number): Promise<RequestFailed> {
  const text = await response.text().catch(() => "");
  return new RequestFailed({
    kind: kindOf(response.status),
    detail: errorMessage(text) ?? `${response.status} ${response.statusText}`.trim(),
    retryAt: retryTime(response.headers.get("retry-after"), now),
  });
}

export function failed(kind: FailureKind, detail = ""): RequestFailed {
  return new RequestFailed({ kind, detail, retryAt: null });
}

function kindOf(status: number): FailureKind {
  switch (status) {
    case 401:
      return "key";
    case 403:
      return "forbidden";
    case 429:
      return "limit";
    case 503:
      return "overloaded";
    default:
      return status < 500 ? "request" : "server";
  }
}

/** The message of OpenAI's error object; null if this is not one. */
export function errorMessage(text: string): string | null {
  try {
    const message = (JSON.parse(text) as { error?: { message?: unknown } } | null)?.error?.message;
    return typeof message === "string" ? message : null;
  } catch {
    return null;
  }
}

/** `Retry-After` is seconds or a date. */
function retryTime(header: string | null, now: number): number | null {
  if (header === null || header.trim() === "") return null;
  const seconds = Number(header);
  const time = Number.isFinite(seconds) ? now + seconds * 1000 : Date.parse(header);
  return Number.isNaN(time) ? null : time;
}
