import { useEffect, useRef } from "preact/hooks";
import type { Chat } from "../chat/chat";
import type { Session } from "../chat/session";
import { strings } from "../i18n";
import { Icon } from "./icon";
import { Notice } from "./notice";

export function Composer({ session, chat }: { session: Session; chat: Chat }) {
  const t = strings.value;
  const box = useRef<HTMLTextAreaElement>(null);
  const draft = chat.draft.value;
  const busy = chat.busy.value;
  const ready = draft.trim() !== "" && session.model.value !== null;

  useEffect(() => grow(box.current), [draft]);
  useEffect(() => box.current?.focus(), []);
  useEffect(() => {
    function onKey(event: KeyboardEvent): void {
      if (event.key === "Escape" && chat.busy.value) chat.stop();
    }
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [chat]);

  function send(): void {
    void chat.send();
    box.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    // While a word is being composed (Chinese, Japanese), Enter belongs to the input method.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (!busy) send();
  }

  return (
    <footer class="composer column">
      {session.failure.value !== null && (
        <Notice failure={session.failure.value} retry={() => void session.refresh()} />
      )}
      <div class="box">
        <textarea
          ref={box}
          rows={1}
          value={draft}
          aria-label={t.messageLabel}
          aria-describedby="composer-keys"
          placeholder={t.messagePlaceholder}
          onInput={(event) => chat.type(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {busy ? (
          <button type="button" class="round" onClick={() => chat.stop()} aria-label={t.stop} title={t.stop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="button" class="round" onClick={send} disabled={!ready} aria-label={t.send} title={t.send}>
            <Icon name="send" />
          </button>
        )}
      </div>
      <p id="composer-keys" class="quiet keys">
        {t.keys}
      </p>
    </footer>
  );
}

/** As high as its text, for browsers without `field-sizing`; the style sheet has the limit. */
function grow(box: HTMLTextAreaElement | null): void {
  if (box === null || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
