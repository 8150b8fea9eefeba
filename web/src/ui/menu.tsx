import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icon";

export interface Item {
  readonly label: string;
  readonly icon?: IconName;
  /** A choice among others. */
  readonly checked?: boolean;
  readonly detail?: ComponentChildren;
  readonly danger?: boolean;
  readonly disabled?: boolean;
  readonly run: () => void;
}

interface Props {
  readonly label: string;
  readonly class: string;
  readonly items: readonly Item[];
  readonly children: ComponentChildren;
  readonly onOpen?: () => void;
}

/** A button and its list, after the menu button pattern of WAI-ARIA. */
export function Menu({ label, class: name, items, children, onOpen }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);

  useLayoutEffect(() => {
    if (!open || !list.current || !button.current) return;
    place(list.current, button.current);
    const entries = entriesOf(list.current);
    (entries.find((entry) => entry.getAttribute("aria-checked") === "true") ?? entries[0])?.focus();
  }, [open]);

  function show(): void {
    onOpen?.();
    list.current?.showPopover();
  }

  function close(): void {
    list.current?.hidePopover();
    button.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    const entries = list.current ? entriesOf(list.current) : [];
    const at = entries.indexOf(document.activeElement as HTMLElement);
    const next: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    const index = next[event.key];
    if (index !== undefined) {
      event.preventDefault();
      entries.at(index % entries.length)?.focus();
    } else if (event.key === "Tab") {
      event.preventDefault();
      close();
    } else if (event.key === "Escape") {
      event.stopPropagation(); // it closes the list, and nothing else
    } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      const letter = event.key.toLowerCase();
      const rest = [...entries.slice(at + 1), ...entries];
      rest.find((entry) => entry.textContent?.trim().toLowerCase().startsWith(letter))?.focus();
    }
  }

  return (
    <>
      <button
        ref={button}
        type="button"
        class={name}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={id}
        aria-label={label}
        title={label}
        onClick={() => (open ? close() : show())}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown" || open) return;
          event.preventDefault();
          show();
        }}
      >
        {children}
      </button>
      <div
        ref={list}
        id={id}
        class="menu"
        popover="auto"
        role="menu"
        aria-label={label}
        onToggle={(event) => setOpen((event as ToggleEvent).newState === "open")}
        onKeyDown={onKeyDown}
      >
        {open && items.map((item) => <Entry key={item.label} item={item} close={close} />)}
      </div>
    </>
  );
}

function Entry({ item, close }: { item: Item; close: () => void }) {
  const choice = item.checked !== undefined;
  return (
    <button
      type="button"
      class={item.danger ? "entry danger" : "entry"}
      role={choice ? "menuitemradio" : "menuitem"}
      aria-checked={choice ? item.checked : undefined}
      disabled={item.disabled}
      tabIndex={-1}
      onClick={() => {
        close();
        item.run();
      }}
    >
      {item.icon && <Icon name={item.icon} />}
      <span class="entry-label">{item.label}</span>
      {item.detail}
      {item.checked && <Icon name="check" />}
    </button>
  );
}

function entriesOf(list: HTMLElement): HTMLElement[] {
  return [...list.querySelectorAll<HTMLElement>(".entry:not(:disabled)")];
}

/** Below the button, or above it where there is more room; within the window. */
function place(list: HTMLElement, button: HTMLElement): void {
  const anchor = button.getBoundingClientRect();
  const below = innerHeight - anchor.bottom - 12;
  const above = anchor.top - 12;
  const up = below < Math.min(list.scrollHeight, 320) && above > below;
  list.style.maxHeight = `${up ? above : below}px`;
  list.style.top = up ? "auto" : `${anchor.bottom + 4}px`;
  list.style.bottom = up ? `${innerHeight - anchor.top + 4}px` : "auto";
  const width = list.offsetWidth;
  const left = anchor.left + width > innerWidth - 8 ? anchor.right - width : anchor.left;
  list.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
}
