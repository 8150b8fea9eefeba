// OpenID Connect: authorization code with PKCE (RFC 7636), as a public client.

import type { Renewal } from "../chat/session";
import type { OidcConfig } from "../config";
import type { Shelf } from "../storage";

interface Endpoints {
  readonly issuer: string;
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
}

interface Tokens {
  readonly access_token?: string;
  readonly id_token?: string;
  readonly refresh_token?: string;
  readonly expires_in?: number;
}

interface Pending {
  readonly state: string;
  readonly verifier: string;
  readonly nonce: string;
  readonly back: string;
}

export class OidcFailed extends Error {}

/** Whether it can be used here: `crypto.subtle`, which PKCE needs, exists on HTTPS and localhost only. */
export function usable(): boolean {
  return typeof crypto !== "undefined" && crypto.subtle !== undefined;
}

/** Leaves the page for the issuer's. Throws OidcFailed. */
export async function begin(config: OidcConfig, shelf: Shelf, place: Location): Promise<void> {
  const endpoints = await discover(config);
  const pending: Pending = { state: secret(), verifier: secret(), nonce: secret(), back: place.hash };
  shelf.write("oidc", JSON.stringify(pending));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: config.client,
    redirect_uri: home(place),
    scope: config.scope,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await challenge(pending.verifier),
    code_challenge_method: "S256",
  });
  const mark = endpoints.authorization_endpoint.includes("?") ? "&" : "?";
  place.assign(`${endpoints.authorization_endpoint}${mark}${query}`);
}

/** Whether this address is the issuer's answer. */
export function isAnswer(place: Location): boolean {
  const query = new URLSearchParams(place.search);
  return query.has("state") && (query.has("code") || query.has("error"));
}

/** The tokens for the answer in the address, which is taken out of it. Throws OidcFailed. */
export async function finish(
  config: OidcConfig,
  shelf: Shelf,
  place: Location,
  history: History,
): Promise<{ key: string; renewal: Renewal | null }> {
  const query = new URLSearchParams(place.search);
  const pending = JSON.parse(shelf.read("oidc") ?? "null") as Pending | null;
  shelf.write("oidc", "");
  history.replaceState(null, "", place.pathname + (pending?.back ?? ""));
  if (pending === null || query.get("state") !== pending.state) throw new OidcFailed("state");
  const error = query.get("error");
  if (error !== null) throw new OidcFailed(query.get("error_description") ?? error);
  const endpoints = await discover(config);
  const tokens = await exchange(endpoints, {
    grant_type: "authorization_code",
    code: query.get("code") ?? "",
    redirect_uri: home(place),
    client_id: config.client,
    code_verifier: pending.verifier,
  });
  if (tokens.id_token !== undefined && claims(tokens.id_token)["nonce"] !== pending.nonce) throw new OidcFailed("nonce");
  return session(config, endpoints, tokens);
}

function session(config: OidcConfig, endpoints: Endpoints, tokens: Tokens): { key: string; renewal: Renewal | null } {
  const key = tokens[config.token];
  if (key === undefined) throw new OidcFailed(config.token);
  const { refresh_token: refresh, expires_in: seconds } = tokens;
  if (refresh === undefined || seconds === undefined) return { key, renewal: null };
  const renew = async (): Promise<{ key: string; renewal: Renewal | null }> => {
    const grant = { grant_type: "refresh_token", refresh_token: refresh, client_id: config.client };
    const next = await exchange(endpoints, grant);
    return session(config, endpoints, { refresh_token: refresh, ...next });
  };
  return { key, renewal: { at: Date.now() + seconds * 1000, renew } };
}

async function discover(config: OidcConfig): Promise<Endpoints> {
  const document = await json(fetch(`${config.issuer}/.well-known/openid-configuration`, { credentials: "omit" }));
  if (String(document["issuer"]).replace(/\/$/, "") !== config.issuer) throw new OidcFailed("issuer");
  for (const name of ["authorization_endpoint", "token_endpoint"]) {
    if (typeof document[name] !== "string") throw new OidcFailed(name);
  }
  return document as unknown as Endpoints;
}

async function exchange(endpoints: Endpoints, fields: Record<string, string>): Promise<Tokens> {
  const body = new URLSearchParams(fields);
  return (await json(fetch(endpoints.token_endpoint, { method: "POST", body, credentials: "omit" }))) as Tokens;
}

async function json(request: Promise<Response>): Promise<Record<string, unknown>> {
  try {
    const response = await request;
    const document = (await response.json()) as Record<string, unknown>;
    if (response.ok) return document;
    throw new OidcFailed(String(document["error_description"] ?? document["error"] ?? response.status));
  } catch (error) {
    throw error instanceof OidcFailed ? error : new OidcFailed(String(error));
  }
}

/** What a token says. llm-api verifies it; here only the nonce is compared, with what came by our own request. */
function claims(token: string): Record<string, unknown> {
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(part)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function home(place: Location): string {
  return place.origin + place.pathname;
}

function secret(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challenge(verifier: string): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
