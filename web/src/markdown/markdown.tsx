import { type ComponentChildren, Fragment, type VNode } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { Frozen } from "../ui/frozen";
import { CodeBlock } from "./code";
import { FormulaView } from "./formula";
import { type Formula, Growing, parse, type Token, type Tokens } from "./parse";
import { decoded } from "./entities";
import { safeImage, safeUrl } from "./url";

interface Props {
  readonly text: string;
  /** The text is not at its end yet. */
  readonly growing: boolean;
  /** Makes a citation such as [1] of a number, if there is a source of it. */
  readonly cite?: ((number: number) => VNode | null) | undefined;
}

export function Markdown({ text, growing, cite }: Props) {
  const parser = useRef<Growing | null>(null);
  const tokens = useMemo(() => {
    if (!growing) return parse(text);
    parser.current ??= new Growing();
    return parser.current.update(text);
  }, [text, growing]);
  return (
    <div class={growing ? "markdown growing" : "markdown"}>
      {tokens.map((token, index) => {
        const last = growing && index === tokens.length - 1;
        // What a block says is all it depends on: it is drawn again only when that changes.
        return (
          <Frozen key={index} of={`${last ? "+" : ""}${token.type}${token.raw}`}>
            {() => block(token, { growing: last, cite })}
          </Frozen>
        );
      })}
    </div>
  );
}

interface Context {
  readonly growing: boolean;
  readonly cite: Props["cite"];
}

function blocks(tokens: readonly Token[], context: Context): ComponentChildren {
  return tokens.map((token, index) => <Fragment key={index}>{block(token, context)}</Fragment>);
}

function block(token: Token, context: Context): ComponentChildren {
  switch (token.type) {
    case "heading":
      return heading(token as Tokens.Heading, context);
    case "paragraph":
      return <p>{inline((token as Tokens.Paragraph).tokens, context)}</p>;
    case "code": {
      const { text, lang } = token as Tokens.Code;
      return <CodeBlock code={text} language={lang ?? ""} growing={context.growing} />;
    }
    case "blockquote":
      return <blockquote>{blocks((token as Tokens.Blockquote).tokens, context)}</blockquote>;
    case "list":
      return list(token as Tokens.List, context);
    case "table":
      return table(token as Tokens.Table, context);
    case "hr":
      return <hr />;
    case "formula":
      return <FormulaView formula={token as unknown as Formula} />;
    case "space":
    case "def":
      return null;
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inline(tokens, context) : decoded(text);
    }
    case "checkbox":
      return <input type="checkbox" disabled checked={(token as Tokens.Checkbox).checked} aria-hidden="true" />;
    default:
      return "raw" in token ? <p>{token.raw}</p> : null;
  }
}

/** The page has headings of its own; those of an answer come below them. */
function heading({ depth, tokens }: Tokens.Heading, context: Context): VNode {
  const level = Math.min(6, depth + 2);
  return (
    <div role="heading" aria-level={level} class={`heading heading-${depth}`}>
      {inline(tokens, context)}
    </div>
  );
}

function list({ ordered, start, items, loose }: Tokens.List, context: Context): VNode {
  const entries = items.map((item, index) => (
    <li key={index} class={item.task ? "task" : undefined}>
      {blocks(loose ? item.tokens.map(asParagraph) : item.tokens, context)}
    </li>
  ));
  return ordered ? <ol start={start === "" ? 1 : start}>{entries}</ol> : <ul>{entries}</ul>;
}

function asParagraph(token: Token): Token {
  return token.type === "text" ? ({ ...token, type: "paragraph" } as Token) : token;
}

function table({ header, rows, align }: Tokens.Table, context: Context): VNode {
  const side = (index: number): string | undefined => (align[index] ? `to-${align[index]}` : undefined);
  return (
    <div class="table" tabIndex={0} role="group">
      <table>
        <thead>
          <tr>
            {header.map((cell, index) => (
              <th key={index} scope="col" class={side(index)}>
                {inline(cell.tokens, context)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, index) => (
                <td key={index} class={side(index)}>
                  {inline(cell.tokens, context)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inline(tokens: readonly Token[] | undefined, context: Context): ComponentChildren {
  return tokens?.map((token, index) => <Fragment key={index}>{word(token, context)}</Fragment>);
}

function word(token: Token, context: Context): ComponentChildren {
  switch (token.type) {
    case "strong":
      return <strong>{inline((token as Tokens.Strong).tokens, context)}</strong>;
    case "em":
      return <em>{inline((token as Tokens.Em).tokens, context)}</em>;
    case "del":
      return <del>{inline((token as Tokens.Del).tokens, context)}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "br":
      return <br />;
    case "link":
      return link(token as Tokens.Link, context);
    case "image":
      return image(token as Tokens.Image);
    case "escape":
      return (token as Tokens.Escape).text;
    case "formula":
      return <FormulaView formula={token as unknown as Formula} />;
    case "checkbox":
      return block(token, context);
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw) ? <br /> : token.raw;
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inline(tokens, context) : cited(decoded(text), context);
    }
    default:
      return token.raw;
  }
}

function link({ href, tokens, text }: Tokens.Link, context: Context): ComponentChildren {
  const url = safeUrl(href);
  const words = tokens.length > 0 ? inline(tokens, { ...context, cite: undefined }) : text;
  if (url === null) return <span>{words}</span>;
  return (
    <a href={url} target="_blank" rel="noopener noreferrer nofollow">
      {words}
    </a>
  );
}

function image({ href, text }: Tokens.Image): ComponentChildren {
  const data = safeImage(href);
  if (data !== null) return <img src={data} alt={text} />;
  const url = safeUrl(href);
  if (url === null) return text;
  return (
    <a href={url} target="_blank" rel="noopener noreferrer nofollow">
      {text || url}
    </a>
  );
}

function cited(text: string, { cite }: Context): ComponentChildren {
  if (cite === undefined || !text.includes("[")) return text;
  return text.split(/(\[\d{1,2}\])/).map((part, index) => {
    const number = index % 2 === 1 ? Number(part.slice(1, -1)) : 0;
    return (number > 0 && cite(number)) || part;
  });
}
