// /admin/v1: for keys with an administrator's scope. Times are seconds since 1970.

import { callJson, type Client } from "./client";

export const SCOPES = ["inference", "usage", "admin:read", "admin"] as const;
export const LIMITS = ["requests_per_minute", "tokens_per_minute", "concurrency", "tokens_per_day", "tokens_per_month"] as const;

export type Limits = Readonly<Partial<Record<(typeof LIMITS)[number], number>>>;

export interface Tenant {
  readonly id: string;
  readonly name: string;
  readonly limits: Limits;
}

export interface Key {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly models: readonly string[] | null;
  readonly limits: Limits;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  readonly previous_until: number | null;
}

/** The text of a key is told once, when it is made. */
export interface KeyMade extends Key {
  readonly key: string;
}

export interface NewKey {
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly models: readonly string[] | null;
  readonly limits: Limits;
  readonly expires_at: number | null;
}

export interface Usage {
  readonly requests: number;
  readonly failed: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  readonly tenant?: string;
  readonly model?: string;
  readonly day?: string;
}

export interface Pool {
  readonly name: string;
  readonly context: number;
  readonly modality: string;
  readonly queued: number;
  readonly wait_ms: number;
  readonly workers: readonly { readonly name: string; readonly state: string }[];
}

export interface Fleet {
  readonly routers: readonly { readonly url: string; readonly reachable: boolean }[];
  readonly pools: readonly Pool[];
}

interface List<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
}

/** Every method throws RequestFailed. */
export class Admin {
  constructor(private readonly client: () => Client) {}

  keys(): Promise<readonly Key[]> {
    return this.#all<Key>("keys", (key) => key.id);
  }

  tenants(): Promise<readonly Tenant[]> {
    return this.#all<Tenant>("tenants", (tenant) => tenant.name);
  }

  create(key: NewKey): Promise<KeyMade> {
    return this.#call("keys", "POST", key);
  }

  rotate(id: string, overlap: number): Promise<KeyMade> {
    return this.#call(`keys/${encodeURIComponent(id)}/rotate`, "POST", { overlap });
  }

  revoke(id: string): Promise<Key> {
    return this.#call(`keys/${encodeURIComponent(id)}/revoke`, "POST", {});
  }

  change(id: string, changes: Partial<Pick<Key, "name" | "limits" | "models" | "scopes">>): Promise<Key> {
    return this.#call(`keys/${encodeURIComponent(id)}`, "PATCH", changes);
  }

  async usage(groups: readonly string[], from: string, to: string): Promise<readonly Usage[]> {
    const query = new URLSearchParams({ group_by: groups.join(","), from, to, limit: "1000" });
    return (await this.#call<List<Usage>>(`usage?${query}`)).data;
  }

  fleet(): Promise<Fleet> {
    return this.#call("fleet");
  }

  async #all<T>(name: string, mark: (item: T) => string): Promise<readonly T[]> {
    const found: T[] = [];
    for (;;) {
      const last = found.at(-1);
      const query = new URLSearchParams({ limit: "1000", ...(last === undefined ? {} : { after: mark(last) }) });
      const page = await this.#call<List<T>>(`${name}?${query}`);
      found.push(...page.data);
      if (!page.has_more || page.data.length === 0) return found;
    }
  }

  #call<T>(path: string, method: "GET" | "POST" | "PATCH" = "GET", body?: unknown): Promise<T> {
    return callJson<T>(this.client(), `/admin/v1/${path}`, body === undefined ? { method } : { method, body });
  }
}
