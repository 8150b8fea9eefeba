import { useEffect, useRef } from "preact/hooks";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { Attachments, useAttachments } from "./attachments";
import { grow } from "./grow";
import { Icon } from "./icon";
import { Menu } from "./menu";
import { Notice } from "./notice";

export function Composer() {
  const t = strings.value;
  const { session, chat, page } = useApp();
  const conversation = chat.current.value;
  const box = useRef<HTMLTextAreaElement>(null);
  const attached = useAttachments();
  const draft = chat.draft.value;
  const busy = conversation.busy.value;
  const model = session.modelNamed(conversation.head.value.model);
  const ready = (draft.trim() !== "" || attached.images.length > 0) && model !== null && !attached.reading;

  useEffect(() => grow(box.current), [draft]);
  useEffect(() => {
    page.focusComposer = () => box.current?.focus();
    if (matchMedia("(hover: hover)").matches) box.current?.focus(); // on a phone it would open the keyboard
  }, []);

  function send(): void {
    if (!ready || busy) return;
    void chat.send(attached.take());
    const id = conversation.id;
    if (page.route.value.view === "chat" && page.route.value.id !== id) page.go(`#/c/${id}`, true);
    box.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    // While a word is being composed (Chinese, Japanese), the keys belong to the input method.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "ArrowUp" && draft === "") {
      const questions = document.querySelectorAll<HTMLElement>("[data-edit] button[name=edit]");
      const last = questions[questions.length - 1];
      if (last) {
        event.preventDefault();
        last.click();
      }
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    }
  }

  return (
    <footer class={attached.over ? "composer column over" : "composer column"} {...attached.dropping}>
      {session.failure.value !== null && (
        <Notice failure={session.failure.value} retry={() => void session.refresh()} />
      )}
      <Storage />
      <div class="box">
        <Attachments attached={attached} />
        <textarea
          ref={box}
          rows={1}
          value={draft}
          aria-label={t.messageLabel}
          aria-describedby="composer-keys"
          placeholder={attached.over ? t.dropHere : t.messagePlaceholder}
          onInput={(event) => chat.type(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={attached.onPaste}
        />
        <div class="box-tools">
          <Menu class="tool" label={t.attach} items={attached.choices}>
            <Icon name="plus" />
          </Menu>
          {conversation.running ? (
            <button type="button" class="round" onClick={() => conversation.stop()} aria-label={t.stop} title={t.stop}>
              <Icon name="stop" />
            </button>
          ) : (
            <button
              type="button"
              class="round"
              onClick={send}
              disabled={!ready || busy}
              aria-label={t.send}
              title={t.send}
            >
              <Icon name="send" />
            </button>
          )}
        </div>
      </div>
      <p class="below quiet">
        <span id="composer-keys">{t.keys}</span>
        <Allowance />
      </p>
    </footer>
  );
}

/** What the limits leave, where there are some. */
function Allowance() {
  const t = strings.value;
  const left = useApp().session.allowance.value;
  if (left === null) return null;
  return (
    <span class="allowance">
      {left.requests && <span>{t.leftRequests(left.requests.remaining, left.requests.limit)}</span>}
      {left.tokens && <span>{t.leftTokens(left.tokens.remaining, left.tokens.limit)}</span>}
    </span>
  );
}

function Storage() {
  const t = strings.value;
  const { chat } = useApp();
  if (chat.keeper.full.value) return <Hint text={t.storageFull} />;
  return chat.library.lasting ? null : <Hint text={t.storageNone} />;
}

function Hint({ text }: { text: string }) {
  return (
    <p class="hint" role="status">
      {text}
    </p>
  );
}
