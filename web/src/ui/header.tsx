import { strings } from "../i18n";
import { useApp } from "./app-context";
import { Icon } from "./icon";
import { ModelPicker } from "./model-picker";

export function Header() {
  const t = strings.value;
  const { page, chat } = useApp();
  const chatting = page.route.value.view === "chat";
  const title = chat.current.value.head.value.title;
  return (
    <header class="header">
      <h1 class="hidden">{(chatting && title) || t.appName}</h1>
      {!page.sidebar.value && (
        <>
          <button
            type="button"
            class="tool"
            onClick={() => page.toggleSidebar()}
            title={t.showSidebar}
            aria-label={t.showSidebar}
          >
            <Icon name="sidebar" />
          </button>
          <a class="tool" href="#" onClick={() => page.focusComposer()} title={t.newChat} aria-label={t.newChat}>
            <Icon name="new" />
          </a>
        </>
      )}
      {chatting ? (
        <>
          <ModelPicker />
          <div class="tools">
            <button
              type="button"
              class="tool"
              onClick={() => (page.dialog.value = "settings")}
              title={t.settings}
              aria-label={t.settings}
            >
              <Icon name="settings" />
            </button>
          </div>
        </>
      ) : (
        <>
          <h2 class="header-title">{t.operate}</h2>
          <div class="tools">
            <a class="secondary" href="#">
              {t.backToChat}
            </a>
          </div>
        </>
      )}
    </header>
  );
}
