// One way to call llm-api, for everything on the page.

import { failed, refused } from "./failure";
import { type Allowance, allowance } from "./allowance";

export interface Client {
  readonly key: string;
  /** Origin of llm-api; empty for the page's own. */
  readonly base: string;
  /** Told what each answer says about the limits, if it says something. */
  readonly heard?: (allowance: Allowance) => void;
}

export interface Call {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

export type Answer = Response;

/** A successful response. Throws RequestFailed, or the signal's own AbortError. */
export async function call(client: Client, path: string, options: Call = {}): Promise<Answer> {
  const headers: Record<string, string> = { authorization: `Bearer ${client.key}` };
  const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-store", credentials: "omit" };
  if (options.body !== undefined) {
    headers["content-type"] = "application/json";
    init.body = JSON.stringify(options.body);
  }
  if (options.signal) init.signal = options.signal;
  let response: Response;
  try {
    response = await fetch(client.base + path, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw failed("offline");
  }
  const left = allowance(response.headers, Date.now());
  if (left !== null) client.heard?.(left);
  if (!response.ok) throw await refused(response, Date.now());
  return response;
}

/** The answer's JSON. Throws RequestFailed, also for what is none. */
export async function callJson<T>(client: Client, path: string, options: Call = {}): Promise<T> {
  const response = await call(client, path, options);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw failed("server", path);
  }
}
