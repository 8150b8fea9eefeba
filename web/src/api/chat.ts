import { type Answer, call, type Client } from "./client";
import { errorMessage, failed } from "./failure";
import { events } from "./sse";
import { Thoughts } from "./thoughts";

export type Part =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } };

export interface Turn {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly Part[];
}

/** What a person may set; what is absent is left to the server. */
export interface Parameters {
  readonly temperature?: number;
  readonly top_p?: number;
  readonly max_tokens?: number;
  readonly seed?: number;
}

export interface Usage {
  readonly prompt: number;
  readonly completion: number;
}

export interface Question extends Parameters {
  readonly model: string;
  readonly messages: readonly Turn[];
  /** The last turn is the beginning of the answer: write on. */
  readonly resume?: boolean;
}

export type Piece =
  | { readonly kind: "begun"; readonly queued: number | null; readonly worker: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "finish"; readonly reason: string }
  | { readonly kind: "usage"; readonly usage: Usage };

interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
}

interface Chunk {
  choices?: { delta?: Delta; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

/** The pieces of an answer as they come. Throws RequestFailed, or AbortError when the signal fires. */
export async function* streamChat(client: Client, asked: Question, signal: AbortSignal): AsyncGenerator<Piece, void, void> {
  const { resume = false, ...question } = asked;
  const more = resume ? { continue_final_message: true, add_generation_prompt: false } : {};
  const body = { ...question, ...more, stream: true, stream_options: { include_usage: true } };
  const answer = await call(client, "/v1/chat/completions", { method: "POST", body, signal });
  yield begun(answer);
  if (answer.body === null) throw failed("interrupted");
  const thoughts = new Thoughts(!resume);
  let finished = false;
  try {
    for await (const { data } of events(answer.body)) {
      if (data === "[DONE]") {
        finished = true; // the body is read to its end: to leave now would look like a person who went away
        continue;
      }
      for (const piece of piecesOf(data)) {
        finished ||= piece.kind === "finish";
        if (piece.kind === "text") yield* thoughts.push(piece.text);
        else {
          if (piece.kind === "finish") yield* thoughts.end();
          yield piece;
        }
      }
    }
  } catch (error) {
    // A connection that breaks in mid-stream is a TypeError of fetch.
    throw error instanceof TypeError && !signal.aborted ? failed("interrupted") : error;
  }
  if (!finished) throw failed("interrupted");
}

function begun({ headers }: Answer): Piece {
  const queued = headers.get("x-headrace-queue-ms");
  const worker = headers.get("x-headrace-worker") ?? "";
  return { kind: "begun", queued: queued === null || queued === "" ? null : Number(queued), worker };
}

/** What one event says. Throws RequestFailed for an error event and for what is no JSON. */
export function piecesOf(data: string): Piece[] {
  const error = errorMessage(data);
  if (error !== null) throw failed("interrupted", error);
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data) as Chunk;
  } catch {
    throw failed("interrupted");
  }
  const pieces: Piece[] = [];
  for (const { delta, finish_reason: reason } of chunk.choices ?? []) {
    const thought = delta?.reasoning_content ?? delta?.reasoning;
    if (thought) pieces.push({ kind: "reasoning", text: thought });
    if (delta?.content) pieces.push({ kind: "text", text: delta.content });
    if (reason) pieces.push({ kind: "finish", reason });
  }
  if (chunk.usage) {
    const { prompt_tokens: prompt, completion_tokens: completion } = chunk.usage;
    pieces.push({ kind: "usage", usage: { prompt, completion } });
  }
  return pieces;
}
