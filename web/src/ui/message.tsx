import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Live } from "../chat/answer";
import { tokensPerSecond } from "../chat/numbers";
import { isMoving, type Message } from "../chat/tree";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { CopyButton } from "./copy";
import { EditForm } from "./edit-form";
import { Icon } from "./icon";
import { later } from "./later";
import { Notice } from "./notice";
import { useNow } from "./now";
import { Citation, SourceList } from "./sources";

export const markdown = later(async () => (await import("../markdown/markdown")).Markdown);

interface Props {
  readonly message: Message;
  /** The message and what was said in its place. */
  readonly versions: readonly Message[];
  readonly last: boolean;
}

export function MessageView(props: Props) {
  return props.message.role === "user" ? <Question {...props} /> : <AnswerView {...props} />;
}

function Question({ message, versions, last }: Props) {
  const t = strings.value;
  const { chat, page } = useApp();
  const conversation = chat.current.value;
  const [editing, setEditing] = useState(false);
  const editable = !conversation.busy.value;
  if (editing) {
    return (
      <article class="message message-user editing">
        <h2 class="hidden">{t.you}</h2>
        <EditForm
          message={message}
          close={() => setEditing(false)}
          send={(text) => {
            setEditing(false);
            page.focusComposer();
            void conversation.edit(message.id, text);
          }}
        />
      </article>
    );
  }
  return (
    <article class="message message-user" data-edit={editable ? message.id : undefined}>
      <h2 class="hidden">{t.you}</h2>
      <div class="bubble">
        {message.images.length > 0 && (
          <div class="images">
            {message.images.map((url, index) => (
              <img key={index} src={url} alt={t.image(index + 1)} />
            ))}
          </div>
        )}
        {message.text !== "" && <div class="text">{message.text}</div>}
      </div>
      <div class="actions">
        <Versions message={message} versions={versions} />
        <CopyButton text={message.text} label={t.copy} />
        <Action icon="pencil" label={t.edit} disabled={!editable} run={() => setEditing(true)} name="edit" />
      </div>
      {/* Without an answer below it, as after an import. */}
      {last && editable && (
        <button type="button" class="secondary" onClick={() => void conversation.regenerate(message.id)}>
          {t.retry}
        </button>
      )}
    </article>
  );
}

function AnswerView({ message, versions, last }: Props) {
  const t = strings.value;
  const { chat } = useApp();
  const conversation = chat.current.value;
  const moving = isMoving(message);
  const live = moving ? conversation.live.value : null;
  const shown: Message | (Message & Live) = live !== null && live.id === message.id ? { ...message, ...live } : message;
  const question = message.parent === null ? undefined : conversation.tree.value[message.parent];
  const sources = question?.sources ?? null;
  const written = shown.text !== "" || shown.reasoning !== "";
  return (
    <article class="message message-assistant" aria-busy={moving}>
      <h2 class="who">{message.model || t.assistant}</h2>
      {shown.reasoning !== "" && <Reasoning text={shown.reasoning} open={moving && shown.text === ""} />}
      {shown.text !== "" && (
        <Body
          text={moving ? shown.text : shown.text.trimEnd()}
          growing={moving}
          cite={sources === null ? undefined : (number) => <Citation number={number} sources={sources} of={message.id} />}
        />
      )}
      {moving && !written && <Waiting since={conversation.askedAt.value} />}
      <Ending message={message} last={last} />
      {!moving && sources !== null && <SourceList sources={sources} of={message.id} />}
      {!moving && (
        <div class="actions">
          <Versions message={message} versions={versions} />
          {written && <CopyButton text={message.text} label={t.copy} />}
          {written && (
            <Action
              icon="again"
              label={t.regenerate}
              disabled={conversation.busy.value}
              run={() => void conversation.regenerate(message.id)}
            />
          )}
          <NumbersLine message={message} />
        </div>
      )}
    </article>
  );
}

interface BodyProps {
  readonly text: string;
  readonly growing: boolean;
  readonly cite: Parameters<NonNullable<ReturnType<typeof markdown.use>>>[0]["cite"];
}

/** As Markdown; as it was written while that part of the page is on its way. */
function Body({ text, growing, cite }: BodyProps) {
  const Markdown = markdown.use();
  if (Markdown === null) return <div class="text">{text}</div>;
  return <Markdown text={text} growing={growing} cite={cite} />;
}

function Reasoning({ text, open }: { text: string; open: boolean }) {
  const t = strings.value;
  return (
    <details class="reasoning">
      <summary>{open ? t.thinking : t.reasoning}</summary>
      <div class="text">{text.trim()}</div>
    </details>
  );
}

function Waiting({ since }: { since: number }) {
  const t = strings.value;
  const { chat, session } = useApp();
  const conversation = chat.current.value;
  const now = useNow(true);
  const seconds = Math.max(0, Math.floor((now - since) / 1000));
  const model = session.modelNamed(conversation.head.value.model);
  const queue = Math.round((model?.wait ?? 0) / 1000);
  const searching = conversation.phase.value === "searching";
  // What the queue is now is worth asking for, now and then.
  useEffect(() => {
    if (seconds > 0 && seconds % 3 === 0) session.refreshSoon();
  }, [seconds]);
  return (
    <p class="quiet waiting">
      <span class="pulse" aria-hidden="true" />
      <span>{searching ? t.searching : t.waiting(seconds)}</span>
      {!searching && model?.state === "loading" && <span>{t.loadingHint(model.id)}</span>}
      {!searching && model?.state === "unavailable" && <span>{t.unavailableHint(model.id)}</span>}
      {!searching && model?.state === "ready" && queue >= 1 && <span>{t.waitingQueue(queue)}</span>}
    </p>
  );
}

/** How an answer ended, where that was not its own end, and the way on. */
function Ending({ message, last }: { message: Message; last: boolean }) {
  const t = strings.value;
  const { chat } = useApp();
  const conversation = chat.current.value;
  const retry = (): void => void conversation.regenerate(message.id);
  const resumable = message.text.trim() !== "";
  const resume = last && resumable && !conversation.busy.value && (
    <button type="button" class="secondary" onClick={() => void conversation.resume(message.id)}>
      {t.resume}
    </button>
  );
  if (message.state === "failed" && message.failure !== null) {
    const again = last && !conversation.busy.value ? retry : undefined;
    return (
      <Notice failure={message.failure} retry={again}>
        {resume}
      </Notice>
    );
  }
  if (message.state !== "stopped" && message.state !== "cut") return null;
  return (
    <div class="ending">
      <p class="quiet">{message.state === "stopped" ? t.stopped : t.cut}</p>
      {resume}
      {last && !resumable && !conversation.busy.value && (
        <button type="button" class="secondary" onClick={retry}>
          {t.retry}
        </button>
      )}
    </div>
  );
}

function Versions({ message, versions }: { message: Message; versions: readonly Message[] }) {
  const t = strings.value;
  const { chat } = useApp();
  const conversation = chat.current.value;
  if (versions.length < 2) return null;
  const at = versions.findIndex(({ id }) => id === message.id);
  const step = (to: number): (() => void) => () => {
    const other = versions[to];
    if (other) conversation.choose(other.id);
  };
  const busy = conversation.busy.value;
  return (
    <span class="versions" role="group" aria-label={t.branch(at + 1, versions.length)}>
      <Action icon="left" label={t.previousBranch} disabled={busy || at === 0} run={step(at - 1)} />
      <span aria-hidden="true">
        {at + 1}/{versions.length}
      </span>
      <Action icon="right" label={t.nextBranch} disabled={busy || at === versions.length - 1} run={step(at + 1)} />
    </span>
  );
}

interface ActionProps {
  readonly icon: Parameters<typeof Icon>[0]["name"];
  readonly label: string;
  readonly disabled?: boolean;
  readonly name?: string;
  readonly run: () => void;
}

function Action({ icon, label, disabled = false, name, run }: ActionProps) {
  return (
    <button type="button" class="small-tool" title={label} aria-label={label} disabled={disabled} name={name} onClick={run}>
      <Icon name={icon} />
    </button>
  );
}

function NumbersLine({ message: { numbers } }: { message: Message }): ComponentChildren {
  const t = strings.value;
  if (numbers === null) return null;
  const rate = tokensPerSecond(numbers);
  const { ttft, usage, queued, worker } = numbers;
  return (
    <span class="numbers">
      {ttft !== null && <span>{t.firstWord(ttft / 1000)}</span>}
      {rate !== null && <span>{t.speed(rate)}</span>}
      {usage !== null && <span title={t.tokensTitle}>{t.tokens(usage.prompt, usage.completion)}</span>}
      {queued !== null && <span title={worker}>{t.queued(queued)}</span>}
    </span>
  );
}
