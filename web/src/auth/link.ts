// The one-time link of `headrace up`: #sign-in=TOKEN. A fragment never leaves the browser, so no log has seen it.

const MARK = "#sign-in=";

/** The token in the address, which is taken out of it at once: links get shared, and stay in the history. */
export function takeToken(place: Location, history: History): string | null {
  if (!place.hash.startsWith(MARK)) return null;
  const token = place.hash.slice(MARK.length);
  history.replaceState(null, "", place.pathname + place.search);
  return token;
}

/** A key for a token; null if it was used before, is too old, or nobody here gives keys. */
export async function redeem(token: string): Promise<string | null> {
  try {
    const body = JSON.stringify({ token });
    const headers = { "content-type": "application/json" };
    const response = await fetch("/sign-in", { method: "POST", headers, body, cache: "no-store", credentials: "omit" });
    const document = response.ok ? ((await response.json()) as { key?: unknown }) : {};
    return typeof document.key === "string" ? document.key : null;
  } catch {
    return null;
  }
}
