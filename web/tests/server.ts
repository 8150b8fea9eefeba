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

  constructor() {
    vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
      const headers = init.headers as Record<string, string>;
      const body = typeof init.body === "string" ? (JSON.parse(init.body) as unknown) : null;
      const request = { path, key: headers["authorization"] ?? "", body };
      this.requests.push(request);
      const answer = path === "/v1/models" ? this.models : this.chat;
      return answer(request, init.signal ?? undefined);
    });
  }
}

export function chunk(delta: object, finish: string | null = null): string {
  return JSON.stringify({ choices: [{ delta, finish_reason: finish }] });
}

/** A whole answer; `end` are the events after the words. */
export function stream(words: string[], end: string[] = [chunk({}, "stop"), "[DONE]"]): Response {
  const lines = [chunk({ role: "assistant", content: "" }), ...words.map((content) => chunk({ content })), ...end];
  return new Response(lines.map((line) => `data: ${line}\n\n`).join(""));
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
