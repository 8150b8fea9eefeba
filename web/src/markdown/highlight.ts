// Colours for code: highlight.js, as a tree and not as HTML.

import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import kotlin from "highlight.js/lib/languages/kotlin";
import markdown from "highlight.js/lib/languages/markdown";
import php from "highlight.js/lib/languages/php";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import shell from "highlight.js/lib/languages/shell";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

export type Node =
  | { readonly type: "text"; readonly value: string }
  | { readonly type: "span"; readonly classes: string; readonly children: readonly Node[] };

interface Hast {
  readonly type: string;
  readonly value?: string;
  readonly properties?: { readonly className?: unknown };
  readonly children?: readonly Hast[];
}

const low = createLowlight({
  bash, c, cpp, csharp, css, diff, dockerfile, go, ini, java, javascript, json, kotlin, markdown, php, python, ruby, rust,
  shell, sql, swift, typescript, xml, yaml,
}); // prettier-ignore

/** Null for a language that is not known: a guess would colour prose. */
export function highlight(language: string, code: string): Node[] | null {
  if (language === "" || !low.registered(language)) return null;
  return (low.highlight(language, code).children as readonly Hast[]).map(simple);
}

function simple(node: Hast): Node {
  if (node.type === "text") return { type: "text", value: node.value ?? "" };
  const names = node.properties?.className;
  return {
    type: "span",
    classes: Array.isArray(names) ? names.join(" ") : "",
    children: (node.children ?? []).map(simple),
  };
}
