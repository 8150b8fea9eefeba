import type { Chat } from "../chat/chat";
import type { Session } from "../chat/session";
import { type Language, LANGUAGES, language, setLanguage, strings } from "../i18n";
import { setTheme, THEMES, type Theme, theme } from "../theme";
import { Icon } from "./icon";
import { ModelPicker } from "./model-picker";
import { Select } from "./select";

export function Header({ session, chat }: { session: Session; chat: Chat }) {
  const t = strings.value;
  const themes = { auto: t.themeAuto, light: t.themeLight, dark: t.themeDark };
  const signedIn = session.key.value !== "";
  return (
    <header class="header">
      <h1 class="brand">
        <Icon name="logo" />
        <span>{t.appName}</span>
      </h1>
      {signedIn && <ModelPicker session={session} />}
      <div class="tools">
        {signedIn && chat.thread.value.length > 0 && (
          <button type="button" class="tool" onClick={() => chat.clear()} title={t.newChat} aria-label={t.newChat}>
            <Icon name="new" />
          </button>
        )}
        <Select
          icon="language"
          label={t.language}
          value={language.value}
          options={Object.entries(LANGUAGES)}
          choose={(chosen) => setLanguage(chosen as Language)}
        />
        <Select
          icon="theme"
          label={t.theme}
          value={theme.value}
          options={THEMES.map((name) => [name, themes[name]])}
          choose={(chosen) => setTheme(chosen as Theme)}
        />
        {signedIn && (
          <button
            type="button"
            class="tool"
            onClick={() => {
              chat.clear();
              chat.type("");
              session.signOut();
            }}
            title={t.signOut}
            aria-label={t.signOut}
          >
            <Icon name="leave" />
          </button>
        )}
      </div>
    </header>
  );
}
