import { useEffect } from "preact/hooks";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { useBottom } from "./bottom";
import { Frozen } from "./frozen";
import { Icon } from "./icon";
import { MessageView } from "./message";

export function Thread() {
  const t = strings.value;
  const { chat } = useApp();
  const conversation = chat.current.value;
  const messages = conversation.thread.value;
  const below = conversation.below.value;
  const bottom = useBottom();
  const last = messages.at(-1);
  const askedAt = conversation.askedAt.value;
  useEffect(() => {
    if (askedAt > 0) bottom.follow(); // whoever asks wants to see the answer
  }, [askedAt]);
  return (
    <main class="scroller" ref={bottom.scroller} onScroll={bottom.onScroll} tabIndex={0} aria-label={t.thread}>
      <div class="thread column" ref={bottom.content}>
        {messages.length === 0 && (
          <div class="empty">
            <Icon name="logo" />
            <h2>{t.emptyTitle}</h2>
            <p class="quiet">{t.emptyHint}</p>
          </div>
        )}
        {messages.map((message) => {
          const versions = below.get(message.parent) ?? [];
          const isLast = message === last;
          return (
            <Frozen key={message.id} of={message} and={isLast ? -versions.length : versions.length}>
              {() => <MessageView message={message} versions={versions} last={isLast} />}
            </Frozen>
          );
        })}
        {conversation.elsewhere.value && <p class="quiet">{t.elsewhere}</p>}
      </div>
      {!bottom.following.value && (
        <button type="button" class="to-newest" onClick={bottom.follow} aria-label={t.toNewest} title={t.toNewest}>
          <Icon name="down" />
        </button>
      )}
      <Announcer />
    </main>
  );
}

/** Says an answer that has come to its end here; its words as they come would talk over each other. */
function Announcer() {
  const { chat } = useApp();
  const conversation = chat.current.value;
  const ended = conversation.ended.value;
  const message = ended === null ? undefined : conversation.tree.value[ended];
  const done = message !== undefined && message.state !== "failed" && !conversation.busy.value;
  return (
    <div class="hidden" role="status">
      {done ? `${strings.value.answered} ${message.text}` : ""}
    </div>
  );
}
