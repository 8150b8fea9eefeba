import { type Signal, useSignal } from "@preact/signals";
import { type RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

const NEAR = 40;

interface Bottom {
  readonly scroller: RefObject<HTMLElement | null>;
  readonly content: RefObject<HTMLDivElement | null>;
  readonly following: Signal<boolean>;
  readonly onScroll: () => void;
  readonly follow: () => void;
}

/** The only owner of the scroll position: it stays at the newest line until the person scrolls away from it. */
export function useBottom(): Bottom {
  const scroller = useRef<HTMLElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useSignal(true);
  const before = useRef(0);

  function follow(): void {
    following.value = true;
    if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }

  function onScroll(): void {
    const box = scroller.current;
    if (!box) return;
    // Only a way up is the person's: below, the text may have grown since we went there.
    if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR) following.value = true;
    else if (box.scrollTop < before.current) following.value = false;
    before.current = box.scrollTop;
  }

  useEffect(() => {
    const observer = new ResizeObserver(() => {
      if (following.value) follow();
    });
    for (const box of [scroller.current, content.current]) if (box) observer.observe(box);
    return () => observer.disconnect();
  }, []);

  return { scroller, content, following, onScroll, follow };
}
