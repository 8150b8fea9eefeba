// What the limits leave, from OpenAI's x-ratelimit-* headers.

export interface Budget {
  readonly limit: number;
  readonly remaining: number;
  /** When it is full again, in milliseconds since 1970. */
  readonly fullAt: number;
}

export interface Allowance {
  readonly requests: Budget | null;
  readonly tokens: Budget | null;
}

/** Null if the answer says nothing, as where there are no limits. */
export function allowance(headers: Headers, now: number): Allowance | null {
  const requests = budget(headers, "requests", now);
  const tokens = budget(headers, "tokens", now);
  return requests === null && tokens === null ? null : { requests, tokens };
}

function budget(headers: Headers, kind: string, now: number): Budget | null {
  const limit = number(headers.get(`x-ratelimit-limit-${kind}`));
  const remaining = number(headers.get(`x-ratelimit-remaining-${kind}`));
  if (limit === null || remaining === null) return null;
  return { limit, remaining, fullAt: now + duration(headers.get(`x-ratelimit-reset-${kind}`) ?? "") };
}

function number(text: string | null): number | null {
  return text === null || text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text);
}

/** Milliseconds of a duration as Go writes it: 12ms, 1.5s, 6m0s. */
export function duration(text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  let total = 0;
  for (const [, value, unit] of text.matchAll(/([\d.]+)(ms|h|m|s)/g)) total += Number(value) * (units[unit ?? ""] ?? 0);
  return total;
}
