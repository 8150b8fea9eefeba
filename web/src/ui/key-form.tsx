import { useRef } from "preact/hooks";
import type { Session } from "../chat/session";
import { strings } from "../i18n";
import { Notice } from "./notice";

export function KeyForm({ session }: { session: Session }) {
  const t = strings.value;
  const input = useRef<HTMLInputElement>(null);
  const busy = session.checking.value;

  function submit(event: Event): void {
    event.preventDefault();
    const key = input.current?.value.trim() ?? "";
    if (key !== "") void session.signIn(key);
  }

  return (
    <main class="sign-in">
      <form class="card" onSubmit={submit}>
        <h2>{t.keyTitle}</h2>
        <label for="key">{t.keyLabel}</label>
        <input
          id="key"
          ref={input}
          type="password"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          placeholder="hr-…"
          required
          autofocus
          aria-describedby="key-hint"
          readOnly={busy}
        />
        <p id="key-hint" class="quiet">
          {t.keyHint}
        </p>
        {session.failure.value !== null && <Notice failure={session.failure.value} />}
        <button type="submit" class="primary" disabled={busy}>
          {busy ? t.keyChecking : t.keySubmit}
        </button>
        <p class="quiet">{t.keyStays}</p>
      </form>
    </main>
  );
}
