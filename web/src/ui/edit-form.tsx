import { useEffect, useRef, useState } from "preact/hooks";
import type { Message } from "../chat/tree";
import { strings } from "../i18n";
import { device } from "../storage";
import { grow } from "./grow";

interface Props {
  readonly message: Message;
  readonly close: () => void;
  readonly send: (text: string) => void;
}

/** What is typed here survives a reload like everything else that is typed. */
export function EditForm({ message, close, send }: Props) {
  const t = strings.value;
  const name = `draft.${message.id}`;
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(device.read(name) ?? message.text);
  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(text.length, text.length);
  }, []);
  useEffect(() => grow(box.current), [text]);

  function type(value: string): void {
    setText(value);
    device.write(name, value === message.text ? "" : value);
  }

  function cancel(): void {
    device.write(name, "");
    close();
  }

  function submit(): void {
    if (text.trim() === "") return;
    device.write(name, "");
    send(text.trim());
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") cancel();
    else if (event.key === "Enter" && !event.shiftKey) submit();
    else return;
    event.preventDefault();
  }

  return (
    <form
      class="edit"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={box}
        value={text}
        rows={2}
        aria-label={t.editLabel}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="edit-actions">
        <button type="button" class="secondary" onClick={cancel}>
          {t.cancel}
        </button>
        <button type="submit" class="primary" disabled={text.trim() === ""}>
          {t.editSend}
        </button>
      </div>
    </form>
  );
}
