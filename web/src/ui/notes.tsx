import { useApp } from "./app-context";
import { strings } from "../i18n";
import { Icon } from "./icon";

/** Short notes at the bottom; a screen reader says them, too. */
export function Notes() {
  const { page } = useApp();
  const note = page.note.value;
  return (
    <div class="notes" role="status">
      {note && (
        <div class="note">
          <span>{note.text}</span>
          {note.action && (
            <button
              type="button"
              class="note-action"
              onClick={() => {
                note.action?.run();
                page.quiet();
              }}
            >
              {note.action.label}
            </button>
          )}
          <button type="button" class="note-close" onClick={() => page.quiet()} aria-label={strings.value.close}>
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}
