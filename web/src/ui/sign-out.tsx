import { strings } from "../i18n";
import { useApp } from "./app-context";
import { download } from "./clipboard";
import { Dialog } from "./dialog";

/** What stays: it says nothing about anybody. */
export const TASTES = ["language", "theme"];

export function SignOutDialog({ close }: { close: () => void }) {
  const t = strings.value;
  const { chat, session, page } = useApp();

  async function leave(): Promise<void> {
    close();
    await chat.clear(TASTES);
    session.leave();
    page.quiet();
    page.go("", true);
  }

  async function exportAll(): Promise<void> {
    download("headrace-conversations.json", "application/json", await chat.exportAll());
  }

  return (
    <Dialog title={t.signOutTitle} close={close}>
      <p>{t.signOutHint}</p>
      <div class="dialog-actions">
        {chat.heads.value.length > 0 && (
          <button type="button" class="secondary" onClick={() => void exportAll()}>
            {t.exportAll}
          </button>
        )}
        <button type="button" class="secondary" onClick={close}>
          {t.cancel}
        </button>
        <button type="button" class="primary danger" onClick={() => void leave()}>
          {t.signOutSubmit}
        </button>
      </div>
    </Dialog>
  );
}
