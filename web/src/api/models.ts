import { call, type Client } from "./client";
import { failed } from "./failure";

export interface Model {
  readonly id: string;
  readonly state: "ready" | "loading" | "unavailable";
  /** Tokens of prompt and output together; null if unknown. */
  readonly context: number | null;
}

interface Entry {
  id: string;
  modality?: string;
  context_length?: number | null;
  headrace?: { status?: string };
}

const NOT_FOR_CHAT = new Set(["embedding", "classification", "rerank"]);

/** The models that the key may chat with. */
export async function chatModels(client: Client, signal?: AbortSignal): Promise<Model[]> {
  const response = await call(client, "/v1/models", signal ? { signal } : {});
  const list = (await response.json().catch(() => null)) as { data?: unknown } | null;
  if (!Array.isArray(list?.data)) throw failed("server", "/v1/models");
  return fromList(list.data as Entry[]);
}

/** Other servers of the same dialect say less: what they leave out is taken as "ready, for chat". */
export function fromList(entries: readonly Entry[]): Model[] {
  return entries
    .filter((entry) => typeof entry.id === "string" && !NOT_FOR_CHAT.has(entry.modality ?? ""))
    .map((entry) => ({ id: entry.id, state: stateOf(entry), context: entry.context_length ?? null }));
}

function stateOf(entry: Entry): Model["state"] {
  const status = entry.headrace?.status;
  return status === "loading" || status === "unavailable" ? status : "ready";
}
