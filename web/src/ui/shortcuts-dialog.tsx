import { strings } from "../i18n";
import { useApp } from "./app-context";
import { Dialog } from "./dialog";
import { SHORTCUTS } from "./shortcuts";

export function ShortcutsDialog({ close }: { close: () => void }) {
  const t = strings.value;
  const { page } = useApp();
  return (
    <Dialog title={t.shortcuts} close={close}>
      <dl class="shortcuts">
        {SHORTCUTS.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{t[text] as string}</dd>
          </div>
        ))}
      </dl>
      <label class="check">
        <input
          type="checkbox"
          checked={page.singleKeys.value}
          onChange={(event) => page.setSingleKeys(event.currentTarget.checked)}
        />
        {t.singleKeys}
        <span class="quiet">
          <kbd>/</kbd> <kbd>?</kbd>
        </span>
      </label>
    </Dialog>
  );
}
