// One way to call llm-api, for everything on the page.

import { failed, refused } from "./failure";

export interface Client {
  readonly key: string;
  /** Origin of llm-api; empty for the page's own. */
  readonly base: string;
}

export interface Call {
  readonly method?: "GET" | "POST";
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** A successful response. Throws RequestFailed, or the signal's own AbortError. */
export async function call(client: Client, path: string, options: Call = {}): Promise<Response> {
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
  if (!response.ok) throw await refused(response, Date.now());
  return response;
}
