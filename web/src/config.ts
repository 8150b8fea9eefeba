// Set at run time by whoever serves the page, so that one build fits all places.

export interface Config {
  readonly version: string;
  /** Origin of llm-api; empty for the page's own. */
  readonly api: string;
}

export async function loadConfig(): Promise<Config> {
  try {
    const response = await fetch("/config.json", { cache: "no-store" });
    return fromJson(response.ok ? await response.json() : null);
  } catch {
    return fromJson(null);
  }
}

export function fromJson(document: unknown): Config {
  const { version, api } = (document ?? {}) as Record<string, unknown>;
  return { version: typeof version === "string" ? version : "", api: typeof api === "string" ? api : "" };
}
