import { callJson, type Client } from "./client";
import { failed } from "./failure";

export type Purpose = "chat" | "embedding" | "rerank";

export interface Model {
  readonly id: string;
  readonly purpose: Purpose;
  readonly state: "ready" | "loading" | "unavailable";
  /** Tokens of prompt and output together; null if unknown. */
  readonly context: number | null;
  /** Milliseconds that a request would wait now; null if unknown. */
  readonly wait: number | null;
  readonly takesImages: boolean;
}

interface Entry {
  id: string;
  modality?: string;
  input_modalities?: unknown;
  context_length?: number | null;
  max_model_len?: number | null;
  headrace?: { status?: string; wait_ms?: number };
}

/** The models that the key may use. `seeing`: those that take images although the list does not tell. */
export async function listModels(client: Client, seeing: readonly string[], signal?: AbortSignal): Promise<Model[]> {
  const list = await callJson<{ data?: unknown } | null>(client, "/v1/models", signal ? { signal } : {});
  if (!Array.isArray(list?.data)) throw failed("server", "/v1/models");
  return fromList(list.data as Entry[], seeing);
}

/** Other servers of the same dialect say less: what they leave out is taken as "ready, for chat". */
export function fromList(entries: readonly Entry[], seeing: readonly string[] = []): Model[] {
  const models: Model[] = [];
  for (const entry of entries) {
    const purpose = purposeOf(entry.modality ?? "text");
    if (typeof entry.id !== "string" || purpose === null) continue;
    const inputs = Array.isArray(entry.input_modalities) ? (entry.input_modalities as unknown[]) : [];
    models.push({
      id: entry.id,
      purpose,
      state: stateOf(entry),
      context: entry.context_length ?? entry.max_model_len ?? null,
      wait: entry.headrace?.wait_ms ?? null,
      takesImages: purpose === "chat" && (inputs.includes("image") || seeing.includes(entry.id)),
    });
  }
  return models;
}

function purposeOf(modality: string): Purpose | null {
  if (modality === "embedding" || modality === "rerank") return modality;
  return modality === "classification" ? null : "chat";
}

function stateOf(entry: Entry): Model["state"] {
  const status = entry.headrace?.status;
  return status === "loading" || status === "unavailable" ? status : "ready";
}
