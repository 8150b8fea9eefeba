import type { Sources } from "../chat/tree";
import { strings } from "../i18n";

function anchor(of: string, number: number): string {
  return `source-${of}-${number}`;
}

/** [1] in an answer; leads to the passage. */
export function Citation({ number, sources, of }: { number: number; sources: Sources; of: string }) {
  const source = sources.passages[number - 1];
  if (source === undefined) return <>[{number}]</>;
  return (
    <button
      type="button"
      class="citation"
      title={source.file}
      aria-label={strings.value.sourceTitle(number)}
      onClick={() => {
        const target = document.getElementById(anchor(of, number));
        const list = target?.parentElement?.closest("details");
        if (list instanceof HTMLDetailsElement) list.open = true;
        if (target instanceof HTMLDetailsElement) target.open = true;
        target?.scrollIntoView({ block: "nearest" });
        target?.querySelector("summary")?.focus();
      }}
    >
      {number}
    </button>
  );
}

/** The passages that an answer was given to read, and what put them in order. */
export function SourceList({ sources, of }: { sources: Sources; of: string }) {
  const t = strings.value;
  const how = sources.reranker === "" ? t.bySimilarity : t.byReranker(sources.reranker);
  return (
    <details class="sources">
      <summary>
        {t.sources(sources.passages.length)}, {how}
      </summary>
      <ol>
        {sources.passages.map((source, index) => (
          <li key={index}>
            <details id={anchor(of, index + 1)}>
              <summary>
                {source.file}, {t.sourceLines(source.from, source.to)}
              </summary>
              <pre tabIndex={0}>{source.text}</pre>
            </details>
          </li>
        ))}
      </ol>
    </details>
  );
}
