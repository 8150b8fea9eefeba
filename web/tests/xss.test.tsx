// @vitest-environment happy-dom
import { render } from "preact";
import { expect, it, vi } from "vitest";
import { Markdown } from "../src/markdown/markdown";
import { highlight } from "../src/markdown/highlight";
import { safeImage, safeUrl } from "../src/markdown/url";
import { HOSTILE } from "./samples/hostile";

const ELEMENTS = new Set(
  ("a blockquote br button circle code del div em figcaption figure hr img input li ol p path pre span strong svg table " +
    "tbody td th thead tr ul math semantics annotation mrow mi mo mn ms mtext mspace mfrac msqrt mroot msub msup msubsup " +
    "munder mover munderover mtable mtr mtd mstyle mpadded menclose merror mphantom").split(" "),
);
const ATTRIBUTES = new Set(
  ("alt aria-hidden aria-label aria-level checked class d disabled focusable href rel role scope start tabindex target " +
    "title type viewBox").split(" "),
);
const MATHML = "http://www.w3.org/1998/Math/MathML";

function problems(root: Element): string[] {
  const found: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    const name = element.localName;
    if (!ELEMENTS.has(name)) found.push(`<${name}>`);
    for (const { name: attribute, value } of element.attributes) {
      const isMath = element.namespaceURI === MATHML && !/^(on|href|src|xlink|id$)/i.test(attribute);
      if (!isMath && !ATTRIBUTES.has(attribute) && !(name === "img" && attribute === "src")) found.push(`${name} ${attribute}`);
      if (attribute === "href" && !/^(https?|mailto):/.test(value)) found.push(`href ${value}`);
      if (attribute === "src" && !/^data:image\/(png|jpeg|gif|webp);/.test(value)) found.push(`src ${value}`);
    }
  }
  return found;
}

async function shown(text: string, growing: boolean): Promise<Element> {
  const root = document.createElement("div");
  document.body.append(root);
  render(<Markdown text={text} growing={growing} />, root);
  await vi.dynamicImportSettled(); // highlighting and formulas
  await new Promise((resolve) => setTimeout(resolve, 0));
  return root;
}

it.each(HOSTILE)("%j is shown and does nothing", async (text) => {
  for (const growing of [false, true]) expect(problems(await shown(text, growing))).toEqual([]);
  expect("pwned" in globalThis).toBe(false);
});

it("is inert at every moment of its growing", async () => {
  const text = HOSTILE.join("\n\n");
  const root = document.createElement("div");
  for (let end = 0; end <= text.length; end += 7) {
    render(<Markdown text={text.slice(0, end)} growing />, root);
    if (end % 350 === 0) expect(problems(root)).toEqual([]);
  }
  expect(problems(root)).toEqual([]);
  expect("pwned" in globalThis).toBe(false);
});

it("would be found if it were not", () => {
  const root = document.createElement("div");
  root.innerHTML = "<p onclick='x'>a</p><iframe></iframe><a href='javascript:1'>b</a><img src='https://x/y.png'>";
  expect(problems(root)).toEqual(["p onclick", "<iframe>", "href javascript:1", "src https://x/y.png"]);
});

it("lets good links and pictures through", async () => {
  const root = await shown("[a](https://example.org/x?y=1) ![b](data:image/png;base64,AAAA)", false);
  expect(root.querySelector("a")?.getAttribute("href")).toBe("https://example.org/x?y=1");
  expect(root.querySelector("a")?.getAttribute("rel")).toContain("noopener");
  expect(root.querySelector("img")?.getAttribute("src")).toBe("data:image/png;base64,AAAA");
  expect(safeUrl("mailto:a@example.org")).toBe("mailto:a@example.org");
  expect(safeImage("data:image/png;base64,AA==")).not.toBeNull();
});

it("colours code as a tree of words", () => {
  expect(highlight("js", "let a = '<b>';")).toContainEqual({
    type: "span",
    classes: "hljs-keyword",
    children: [{ type: "text", value: "let" }],
  });
  expect(highlight("no such language", "x")).toBeNull();
});

it("shows character references as characters", async () => {
  const root = await shown("a &amp; b &lt;c&gt; &eacute; &#233; `&amp;`", false);
  expect(root.textContent).toBe("a & b <c> &eacute; é &amp;");
});
