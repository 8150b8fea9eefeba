// Which passages belong to a question.

import { callJson, type Client } from "../api/client";
import { RequestFailed } from "../api/failure";
import type { Source, Sources } from "../chat/tree";
import type { Document, Passage } from "../store/records";

/** Passages that the reranker is asked about, and those that the model reads. */
const CANDIDATES = 24;
const CHOSEN = 5;
const BATCH = 32;

/** Unit vectors, so that their dot product is their cosine. Throws RequestFailed. */
export async function embed(
  client: Client,
  model: string,
  texts: readonly string[],
  signal?: AbortSignal,
  progress: (done: number) => void = () => undefined,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  for (let at = 0; at < texts.length; at += BATCH) {
    const body = { model, input: texts.slice(at, at + BATCH), encoding_format: "float" };
    const answer = await callJson<{ data: { index: number; embedding: number[] }[] }>(client, "/v1/embeddings", {
      method: "POST",
      body,
      ...(signal ? { signal } : {}),
    });
    const batch = [...answer.data].sort((a, b) => a.index - b.index);
    vectors.push(...batch.map(({ embedding }) => unit(Float32Array.from(embedding))));
    progress(vectors.length);
  }
  return vectors;
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

export function similarity(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < Math.min(a.length, b.length); index++) sum += (a[index] ?? 0) * (b[index] ?? 0);
  return sum;
}

export interface Scored {
  readonly file: string;
  readonly passage: Passage;
  readonly score: number;
}

export function nearest(documents: readonly Document[], question: Float32Array, count = CANDIDATES): Scored[] {
  const all = documents.flatMap(({ name, passages }) =>
    passages.map((passage) => ({ file: name, passage, score: similarity(passage.vector, question) })),
  );
  return all.sort((a, b) => b.score - a.score).slice(0, count);
}

/** The best passages: by the reranker if there is one and it answers, else by similarity; and which of both it was. */
export async function choose(
  client: Client,
  reranker: string | null,
  question: string,
  candidates: readonly Scored[],
  signal: AbortSignal,
): Promise<Sources | null> {
  if (candidates.length === 0) return null;
  if (reranker !== null) {
    try {
      const order = await rerank(client, reranker, question, candidates, signal);
      return { passages: order.map(source), reranker };
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error; // what the person stopped
    }
  }
  return { passages: candidates.slice(0, CHOSEN).map(source), reranker: "" };
}

async function rerank(
  client: Client,
  model: string,
  query: string,
  candidates: readonly Scored[],
  signal: AbortSignal,
): Promise<Scored[]> {
  const documents = candidates.map(({ passage }) => passage.text);
  const body = { model, query, documents, top_n: CHOSEN, return_documents: false };
  const answer = await callJson<{ results: { index: number }[] }>(client, "/v1/rerank", { method: "POST", body, signal });
  return answer.results.map(({ index }) => candidates[index]).filter((item) => item !== undefined).slice(0, CHOSEN);
}

function source({ file, passage: { from, to, text } }: Scored): Source {
  return { file, from, to, text };
}
