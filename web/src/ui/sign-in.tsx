import { useRef, useState } from "preact/hooks";
import { strings } from "../i18n";
import { tab } from "../storage";
import { useApp } from "./app-context";
import { Icon } from "./icon";
import { Notice } from "./notice";
import { Preferences } from "./preferences";
import { TASTES } from "./sign-out";

export function SignIn() {
  const t = strings.value;
  const { config, session, chat } = useApp();
  const input = useRef<HTMLInputElement>(null);
  const [remember, setRemember] = useState(false);
  const busy = session.checking.value;
  const kept = chat.heads.value.length > 0;

  function submit(event: Event): void {
    event.preventDefault();
    const key = input.current?.value.trim() ?? "";
    if (key !== "") void session.signIn(key, remember);
  }

  return (
    <div class="sign-in">
      <header class="sign-in-head">
        <h1 class="brand">
          <Icon name="logo" />
          <span>{t.appName}</span>
        </h1>
        <div class="tools">
          <Preferences />
        </div>
      </header>
      <main class="sign-in-main">
        <form class="card" onSubmit={submit}>
          <h2>{t.signInTitle}</h2>
          {session.failure.value !== null && <Notice failure={session.failure.value} />}
          {kept && <p class="quiet">{t.kept}</p>}
          {config.oidc !== null && <OidcButton />}
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
          <label class="check">
            <input type="checkbox" checked={remember} onChange={(event) => setRemember(event.currentTarget.checked)} />
            {t.remember}
          </label>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? t.keyChecking : t.keySubmit}
          </button>
          <p class="quiet">{remember ? t.keyRemembered : t.keyStays}</p>
          {kept && (
            <button type="button" class="text-button" onClick={() => void chat.clear(TASTES).then(() => session.leave())}>
              {t.startOver}
            </button>
          )}
        </form>
      </main>
    </div>
  );
}

function OidcButton() {
  const t = strings.value;
  const { config, page } = useApp();
  const [busy, setBusy] = useState(false);

  async function begin(): Promise<void> {
    if (config.oidc === null) return;
    setBusy(true);
    try {
      const oidc = await import("../auth/oidc");
      await oidc.begin(config.oidc, tab, location);
    } catch (error) {
      page.say(`${t.oidcFailed} ${error instanceof Error ? error.message : ""}`);
      setBusy(false);
    }
  }

  // PKCE needs crypto.subtle, which exists on HTTPS and localhost only.
  if (crypto.subtle === undefined) return <p class="hint">{t.oidcInsecure}</p>;
  return (
    <>
      <button type="button" class="primary" disabled={busy} onClick={() => void begin()}>
        {t.oidcSubmit}
      </button>
      <p class="or">{t.or}</p>
    </>
  );
}
