import { useEffect, useRef } from "preact/hooks";
import { later } from "../ui/later";
import type { Formula } from "./parse";

const temml = later(async () => (await import("temml")).default);

/** A formula as MathML, which the browser draws and screen readers read. Until that part is here, as it was written. */
export function FormulaView({ formula: { tex, display } }: { formula: Formula }) {
  const box = useRef<HTMLSpanElement>(null);
  const engine = temml.use();
  useEffect(() => {
    if (engine === null || box.current === null) return;
    try {
      // `trust` stays off: no links, classes, styles or pictures from a formula.
      engine.render(tex, box.current, { displayMode: display, throwOnError: true, maxExpand: 300, maxSize: [40, 100] });
    } catch {
      box.current.textContent = tex;
      box.current.classList.add("tex-source");
    }
  }, [engine, tex, display]);
  return (
    <span ref={box} key={tex} class={`${display ? "formula display" : "formula"}${engine === null ? " tex-source" : ""}`}>
      {engine === null ? tex : null}
    </span>
  );
}
