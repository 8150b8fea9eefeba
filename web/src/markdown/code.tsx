import { h, type ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { strings } from "../i18n";
import { CopyButton } from "../ui/copy";
import { later } from "../ui/later";
import type { Node } from "./highlight";

/** Characters; longer code is shown plain, since every one of its words would be a node of the page. */
const LONGEST = 60_000;
/** While it grows it is read again with each word. */
const LONGEST_GROWING = 12_000;

const highlighter = later(() => import("./highlight"));

interface Props {
  readonly code: string;
  readonly language: string;
  readonly growing: boolean;
}

export function CodeBlock({ code, language, growing }: Props) {
  const t = strings.value;
  const engine = highlighter.use();
  const name = language.split(/[\s{,]/, 1)[0] ?? "";
  const colour = engine !== null && code.length < (growing ? LONGEST_GROWING : LONGEST);
  const words = useMemo(() => {
    const tree = colour ? engine.highlight(name, code) : null;
    return tree === null ? code : draw(tree);
  }, [engine, colour, name, code]);
  return (
    <figure class="code">
      <figcaption>
        <span>{name || t.code}</span>
        <CopyButton text={code} label={t.copyCode} />
      </figcaption>
      <pre tabIndex={0}>
        <code>{words}</code>
      </pre>
    </figure>
  );
}

function draw(nodes: readonly Node[]): ComponentChildren {
  return nodes.map((node) => {
    if (node.type === "text") return node.value;
    return h("span", { class: node.classes }, draw(node.children));
  });
}
