import { type Language, LANGUAGES, language, setLanguage, strings } from "../i18n";
import { setTheme, THEMES, type Theme, theme } from "../theme";
import { Icon } from "./icon";
import { Menu } from "./menu";

/** Language and theme. */
export function Preferences() {
  const t = strings.value;
  const themes: Record<Theme, string> = { auto: t.themeAuto, light: t.themeLight, dark: t.themeDark };
  const languages = Object.entries(LANGUAGES).map(([code, label]) => ({
    label,
    checked: language.value === code,
    run: () => setLanguage(code as Language),
  }));
  const looks = THEMES.map((name) => ({
    label: themes[name],
    checked: theme.value === name,
    run: () => setTheme(name),
  }));
  return (
    <>
      <Menu class="tool" label={t.language} items={languages}>
        <Icon name="language" />
      </Menu>
      <Menu class="tool" label={t.theme} items={looks}>
        <Icon name="theme" />
      </Menu>
    </>
  );
}
