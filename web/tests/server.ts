import { vi } from "vitest";

export interface Request {
  readonly path: string;
  readonly key: string;
  readonly body: unknown;
}

type Answer = (request: Request, signal: AbortSignal | undefined) => Response | Promise<Response>;

/** Stands where llm-api is, behind `fetch`. */
export class FakeServer {
  readonly requests: Request[] = [];
  models: Answer = () => Response.json({ data: [{ id: "small" }, { id: "vectors", modality: "embedding" }] });
  chat: Answer = () => stream(["Hel", "lo"]);
  embeddings: Answer = () => error(404, "no embeddings");
  rerank: Answer = () => error(404, "no reranker");

  constructor() {
    vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
      const headers = init.headers as Record<string, string>;
      const body = typeof init.body === "string" ? (JSON.parse(init.body) as unknown) : null;
      const request = { path, key: headers["authorization"] ?? "", body };
      this.requests.push(request);
      const answers: Record<string, Answer> = {
        "/v1/models": this.models,
        "/v1/embeddings": this.embeddings,
        "/v1/rerank": this.rerank,
      };
      return (answers[path] ?? this.chat)(request, init.signal ?? undefined);
    });
  }
}

export function chunk(delta: object, finish: string | null = null): string {
  return JSON.stringify({ choices: [{ delta, finish_reason: finish }] });
}

/** A whole answer; `end` are the events after the words. */
export function stream(
  words: string[],
  end: string[] = [chunk({}, "stop"), "[DONE]"],
  headers: Record<string, string> = {},
): Response {
  const lines = [chunk({ role: "assistant", content: "" }), ...words.map((content) => chunk({ content })), ...end];
  return new Response(lines.map((line) => `data: ${line}\n\n`).join(""), { headers });
}

/** An answer that says its words and then nothing more, until the signal fires. */
export function endless(words: string[], signal: AbortSignal | undefined): Response {
  const text = words.map((content) => `data: ${chunk({ content })}\n\n`).join("");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      signal?.addEventListener("abort", () => controller.error(new DOMException("stopped", "AbortError")));
    },
  });
  return new Response(body);
}

export function error(status: number, message: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error: { message } }, { status, headers });
}
