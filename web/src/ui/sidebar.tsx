import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Head } from "../store/records";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { download, pickFiles } from "./clipboard";
import { Entry } from "./conversation-entry";
import { groups } from "./groups";
import { Icon } from "./icon";
import { Menu } from "./menu";
import { Preferences } from "./preferences";

export function Sidebar() {
  const t = strings.value;
  const { page } = useApp();
  return (
    <nav class="sidebar" aria-label={t.conversations} hidden={!page.sidebar.value}>
      <div class="sidebar-head">
        <span class="brand">
          <Icon name="logo" />
          <span>{t.appName}</span>
        </span>
        <button
          type="button"
          class="tool"
          onClick={() => page.toggleSidebar()}
          title={t.hideSidebar}
          aria-label={t.hideSidebar}
        >
          <Icon name="sidebar" />
        </button>
      </div>
      <a
        class="new-chat"
        href="#"
        onClick={() => {
          page.chosen();
          page.focusComposer();
        }}
      >
        <Icon name="new" />
        {t.newChat}
      </a>
      <Conversations />
      <Foot />
    </nav>
  );
}

function Conversations() {
  const t = strings.value;
  const { chat, page } = useApp();
  const [query, setQuery] = useState("");
  const found = useSearch(query);
  const input = useRef<HTMLInputElement>(null);
  const heads = chat.sorted.value.filter((head) => query.trim() === "" || titled(head, query) || found.has(head.id));
  page.focusSearch = () => input.current?.focus();
  const dated = useMemo(() => groups(heads, Date.now()), [heads.map(({ id, updated, pinned }) => id + updated + pinned).join()]);
  return (
    <>
      <div class="search">
        <Icon name="search" />
        <input
          ref={input}
          type="search"
          value={query}
          placeholder={t.search}
          aria-label={t.search}
          onInput={(event) => setQuery(event.currentTarget.value)}
        />
      </div>
      <div class="history">
        {dated.map(([group, members]) => (
          <section key={group}>
            <h2>{t[group]}</h2>
            <ul>
              {members.map(({ id }) => {
                const head = heads.find((item) => item.id === id);
                return head && <Entry key={id} head={head} />;
              })}
            </ul>
          </section>
        ))}
        {heads.length === 0 && <p class="quiet">{query.trim() === "" ? t.historyEmpty : t.searchNone}</p>}
      </div>
    </>
  );
}

function titled({ title }: Head, query: string): boolean {
  return title.toLowerCase().includes(query.trim().toLowerCase());
}

/** The conversations in which something was said with all the words. */
function useSearch(query: string): ReadonlySet<string> {
  const { chat } = useApp();
  const [found, setFound] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    let wanted = true;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const timer = setTimeout(async () => {
      const ids = words.length === 0 ? new Set<string>() : await chat.library.search(words);
      if (wanted) setFound(ids);
    }, 120);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [query, chat]);
  return found;
}

function Foot() {
  const t = strings.value;
  const { chat, page } = useApp();

  function importFiles(files: readonly File[]): void {
    for (const file of files) {
      void file.text().then((text) => {
        try {
          page.say(t.imported(chat.import(text)));
        } catch {
          page.say(t.importFailed);
        }
      });
    }
  }

  async function exportAll(): Promise<void> {
    download("headrace-conversations.json", "application/json", await chat.exportAll());
  }

  const items = [
    { label: t.importAll, icon: "import", run: () => pickFiles(".json,application/json", importFiles) },
    { label: t.exportAll, icon: "export", run: () => void exportAll(), disabled: chat.heads.value.length === 0 },
    { label: t.operate, icon: "gauge", run: () => (page.chosen(), page.go("#/operate")) },
    { label: t.shortcuts, icon: "keyboard", run: () => (page.dialog.value = "shortcuts") },
    { label: t.signOut, icon: "leave", run: () => (page.dialog.value = "sign-out") },
  ] as const;
  return (
    <div class="sidebar-foot">
      <Preferences />
      <Menu class="tool" label={t.more} items={items}>
        <Icon name="more" />
      </Menu>
    </div>
  );
}
