import type { Chat } from "../chat/chat";
import { strings } from "../i18n";
import { Icon } from "./icon";
import { MessageView } from "./message";
import { useBottom } from "./bottom";

export function Thread({ chat }: { chat: Chat }) {
  const t = strings.value;
  const messages = chat.thread.value;
  const bottom = useBottom();
  const last = messages.at(-1);
  const done = last?.role === "assistant" && !chat.busy.value && last.state !== "failed";
  return (
    <main class="thread" ref={bottom.scroller} onScroll={bottom.onScroll} tabIndex={0} aria-label={t.newChat}>
      <div class="column" ref={bottom.content}>
        {messages.length === 0 && (
          <div class="empty">
            <Icon name="logo" />
            <h2>{t.emptyTitle}</h2>
            <p class="quiet">{t.emptyHint}</p>
          </div>
        )}
        {messages.map((message) => (
          <MessageView
            key={message.id}
            message={message}
            retry={message === last ? () => void chat.retry(message.id) : undefined}
          />
        ))}
      </div>
      {!bottom.following.value && (
        <button type="button" class="to-newest" onClick={bottom.follow} aria-label={t.toNewest} title={t.toNewest}>
          <Icon name="down" />
        </button>
      )}
      {/* A finished answer is announced; its words as they come would talk over each other. */}
      <div class="hidden" role="status">
        {done ? `${t.answered} ${last.text}` : ""}
      </div>
    </main>
  );
}
