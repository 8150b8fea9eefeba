import { useEffect, useState } from "preact/hooks";
import { strings } from "../i18n";
import { copyText } from "./clipboard";
import { Icon } from "./icon";

export function CopyButton({ text, label }: { text: string | (() => string); label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const name = copied ? strings.value.copied : label;
  return (
    <button
      type="button"
      class="small-tool"
      title={name}
      aria-label={name}
      onClick={() => void copyText(typeof text === "string" ? text : text()).then(setCopied)}
    >
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
