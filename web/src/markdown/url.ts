const SAFE = new Set(["http:", "https:", "mailto:"]);

/** The address if a click on it is harmless; null for scripts, files, data and what is no address. */
export function safeUrl(href: string): string | null {
  try {
    const url = new URL(href); // relative ones throw: they would lead into this page
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A picture that is in the text itself. Others would tell a stranger's server who reads what. */
export function safeImage(href: string): string | null {
  return /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=]+$/i.test(href) ? href : null;
}
