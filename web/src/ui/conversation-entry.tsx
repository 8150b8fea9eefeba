import { useEffect, useRef, useState } from "preact/hooks";
import type { Head } from "../store/records";
import { toJson, toMarkdown } from "../store/transfer";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { download } from "./clipboard";
import { Icon } from "./icon";
import { type Item, Menu } from "./menu";

/** A conversation in the list. */
export function Entry({ head }: { head: Head }) {
  const t = strings.value;
  const { chat, page } = useApp();
  const [renaming, setRenaming] = useState(false);
  const title = head.title || t.untitled;
  const open = page.route.value.view === "chat" && chat.current.value.id === head.id;
  const busy = chat.isRunning(head.id);

  async function remove(): Promise<void> {
    const copy = await chat.remove(head.id);
    if (open) page.go("", true);
    page.say(t.removed, { label: t.undo, run: () => copy && chat.restore([copy]) });
  }

  async function exportAs(kind: "json" | "md"): Promise<void> {
    const copy = await chat.copy(head.id);
    if (copy === null) return;
    const name = fileName(title);
    if (kind === "json") return download(`${name}.json`, "application/json", toJson([copy]));
    const tree = Object.fromEntries(copy.messages.map((message) => [message.id, message]));
    download(`${name}.md`, "text/markdown", toMarkdown(copy.head, tree, { user: t.you, assistant: t.assistant }));
  }

  if (renaming) {
    return (
      <li>
        <Rename
          title={head.title}
          done={(text) => {
            if (text !== null && text !== "") chat.change(head.id, { title: text, named: true });
            setRenaming(false);
          }}
        />
      </li>
    );
  }
  const items: Item[] = [
    { label: t.rename, icon: "pencil", run: () => setRenaming(true) },
    {
      label: head.pinned ? t.unpin : t.pin,
      icon: "pin",
      run: () => chat.change(head.id, { pinned: !head.pinned }),
    },
    { label: t.exportMarkdown, icon: "export", run: () => void exportAs("md") },
    { label: t.exportJson, icon: "export", run: () => void exportAs("json") },
    { label: t.remove, icon: "trash", danger: true, run: () => void remove() },
  ];
  return (
    <li class={open ? "open" : undefined}>
      <a href={`#/c/${head.id}`} aria-current={open ? "page" : undefined} onClick={() => page.chosen()}>
        {busy && <span class="pulse" role="img" aria-label={t.answering} />}
        <span class="entry-title" title={title}>
          {title}
        </span>
      </a>
      <Menu class="small-tool" label={t.actionsFor(title)} items={items}>
        <Icon name="more" />
      </Menu>
    </li>
  );
}

function Rename({ title, done }: { title: string; done: (text: string | null) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  useEffect(() => input.current?.select(), []);

  function end(text: string | null): void {
    if (ended.current) return;
    ended.current = true;
    done(text);
  }

  return (
    <input
      ref={input}
      class="rename"
      defaultValue={title}
      maxLength={120}
      aria-label={strings.value.title}
      onBlur={(event) => end(event.currentTarget.value.trim())}
      onKeyDown={(event) => {
        if (event.isComposing) return;
        if (event.key === "Enter") end(event.currentTarget.value.trim());
        else if (event.key === "Escape") {
          event.preventDefault();
          end(null);
        }
      }}
    />
  );
}

function fileName(title: string): string {
  return title.replace(/[\\/:*?"<>|\u0000-\u001f]+/g, " ").trim().slice(0, 80) || "conversation";
}
