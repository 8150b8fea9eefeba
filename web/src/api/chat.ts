import { call, type Client } from "./client";
import { errorMessage, failed } from "./failure";
import { events } from "./sse";

export interface Turn {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

export interface Usage {
  readonly prompt: number;
  readonly completion: number;
}

export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "finish"; readonly reason: string }
  | { readonly kind: "usage"; readonly usage: Usage };

interface Chunk {
  choices?: { delta?: { content?: string | null; reasoning_content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

/** The pieces of an answer as they come. Throws RequestFailed, or AbortError when the signal fires. */
export async function* streamChat(
  client: Client,
  model: string,
  messages: readonly Turn[],
  signal: AbortSignal,
): AsyncGenerator<Piece, void, void> {
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  const response = await call(client, "/v1/chat/completions", { method: "POST", body, signal });
  if (response.body === null) throw failed("interrupted");
  let finished = false;
  try {
    for await (const { data } of events(response.body)) {
      if (data === "[DONE]") {
        finished = true; // the body is read to its end: to leave now would look like a person who went away
        continue;
      }
      for (const piece of piecesOf(data)) {
        finished ||= piece.kind === "finish";
        yield piece;
      }
    }
  } catch (error) {
    // A connection that breaks in mid-stream is a TypeError of fetch.
    throw error instanceof TypeError && !signal.aborted ? failed("interrupted") : error;
  }
  if (!finished) throw failed("interrupted");
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
  for (const choice of chunk.choices ?? []) {
    if (choice.delta?.reasoning_content) pieces.push({ kind: "reasoning", text: choice.delta.reasoning_content });
    if (choice.delta?.content) pieces.push({ kind: "text", text: choice.delta.content });
    if (choice.finish_reason) pieces.push({ kind: "finish", reason: choice.finish_reason });
  }
  if (chunk.usage) {
    const { prompt_tokens: prompt, completion_tokens: completion } = chunk.usage;
    pieces.push({ kind: "usage", usage: { prompt, completion } });
  }
  return pieces;
}
