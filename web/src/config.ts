// Set at run time by whoever serves the page, so that one build fits all places.

export interface Config {
  readonly version: string;
  /** Origin of llm-api; empty for the page's own. */
  readonly api: string;
  /** Models that take images although `/v1/models` does not tell. */
  readonly images: readonly string[];
  readonly oidc: OidcConfig | null;
}

export interface OidcConfig {
  readonly issuer: string;
  readonly client: string;
  readonly scope: string;
  /** Which token is shown to llm-api. */
  readonly token: "access_token" | "id_token";
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
  const { version, api, images, oidc } = (document ?? {}) as Record<string, unknown>;
  return {
    version: text(version),
    api: text(api),
    images: Array.isArray(images) ? images.filter((name) => typeof name === "string") : [],
    oidc: oidcOf(oidc),
  };
}

function oidcOf(document: unknown): OidcConfig | null {
  const { issuer, client_id: client, scope, token } = (document ?? {}) as Record<string, unknown>;
  if (typeof issuer !== "string" || typeof client !== "string") return null;
  return {
    issuer: issuer.replace(/\/$/, ""),
    client,
    scope: text(scope) || "openid profile",
    token: token === "id_token" ? token : "access_token",
  };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
