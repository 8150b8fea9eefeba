import type { Message } from "../chat/conversation";
import { strings } from "../i18n";
import { Notice } from "./notice";
import { useNow } from "./now";

interface Props {
  readonly message: Message;
  /** Asks again; only the newest answer offers it, so that nothing said later gets out of sight. */
  readonly retry: (() => void) | undefined;
}

export function MessageView({ message, retry }: Props) {
  const t = strings.value;
  const streaming = message.state === "streaming";
  const mine = message.role === "user";
  return (
    <article class={`message message-${message.role}`} aria-busy={streaming}>
      <h3 class={mine ? "hidden" : "who"}>{mine ? t.you : message.model || t.assistant}</h3>
      {message.reasoning !== "" && (
        <details class="reasoning">
          <summary>{t.reasoning}</summary>
          <div class="text">{message.reasoning}</div>
        </details>
      )}
      {message.text !== "" && <div class={streaming ? "text growing" : "text"}>{message.text.trimEnd()}</div>}
      {message.state === "waiting" && <Waiting since={message.at} />}
      {message.state === "stopped" && <p class="quiet">{t.stopped}</p>}
      {message.state === "cut" && <p class="quiet">{t.cut}</p>}
      {message.state === "failed" && message.failure && <Notice failure={message.failure} retry={retry} />}
      {message.usage && <p class="quiet usage">{t.tokens(message.usage.prompt, message.usage.completion)}</p>}
    </article>
  );
}

function Waiting({ since }: { since: number }) {
  const now = useNow(true);
  return (
    <p class="quiet waiting">
      <span class="pulse" aria-hidden="true" />
      {strings.value.waiting(Math.max(0, Math.round((now - since) / 1000)))}
    </p>
  );
}
