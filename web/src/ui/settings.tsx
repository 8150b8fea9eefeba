import { useState } from "preact/hooks";
import type { Parameters } from "../api/chat";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { Dialog } from "./dialog";

interface Field {
  readonly name: keyof Parameters;
  readonly least: number;
  readonly most: number;
  readonly step: number;
}

const FIELDS: readonly Field[] = [
  { name: "temperature", least: 0, most: 2, step: 0.1 },
  { name: "top_p", least: 0.01, most: 1, step: 0.01 },
  { name: "max_tokens", least: 1, most: 1_000_000, step: 1 },
  { name: "seed", least: 0, most: 2 ** 31 - 1, step: 1 },
];

/** Changes count at once: there is nothing to lose by closing. */
export function SettingsDialog({ close }: { close: () => void }) {
  const t = strings.value;
  const { chat } = useApp();
  const conversation = chat.current.value;
  const { system, parameters } = conversation.head.value;
  const [kept, setKept] = useState(() => {
    const same = JSON.stringify(chat.defaults) === JSON.stringify({ system, parameters });
    return same && (system !== "" || Object.keys(parameters).length > 0);
  });

  function change(fields: { system?: string; parameters?: Parameters }): void {
    conversation.change(fields);
    const { system, parameters } = conversation.head.value;
    if (kept) chat.defaults = { system, parameters };
  }

  function set(name: keyof Parameters, value: number | null): void {
    const { [name]: _, ...rest } = conversation.head.value.parameters;
    change({ parameters: value === null ? rest : { ...rest, [name]: value } });
  }

  return (
    <Dialog title={t.settings} close={close}>
      <div class="fields">
        <label class="field">
          <span>{t.systemPrompt}</span>
          <textarea
            rows={3}
            autofocus
            value={system}
            aria-describedby="system-hint"
            onInput={(event) => change({ system: event.currentTarget.value })}
          />
          <span id="system-hint" class="quiet">
            {t.systemHint}
          </span>
        </label>
        <div class="numbers-grid">
          {FIELDS.map((field) => (
            <NumberField key={field.name} field={field} value={parameters[field.name]} set={set} />
          ))}
        </div>
        <label class="check">
          <input
            type="checkbox"
            checked={kept}
            onChange={(event) => {
              setKept(event.currentTarget.checked);
              if (event.currentTarget.checked) chat.defaults = { system, parameters };
              else chat.defaults = { system: "", parameters: {} };
            }}
          />
          {t.asDefault}
        </label>
      </div>
    </Dialog>
  );
}

interface NumberProps {
  readonly field: Field;
  readonly value: number | undefined;
  readonly set: (name: keyof Parameters, value: number | null) => void;
}

function NumberField({ field: { name, least, most, step }, value, set }: NumberProps) {
  const t = strings.value;
  const [wrong, setWrong] = useState(false);
  const texts = {
    temperature: [t.temperature, t.temperatureHint],
    top_p: [t.topP, t.topPHint],
    max_tokens: [t.maxTokens, ""],
    seed: [t.seed, t.seedHint],
  } as const;
  const [label, hint] = texts[name];

  function take(text: string): void {
    const number = Number(text);
    const right = text.trim() !== "" && number >= least && number <= most && (step !== 1 || Number.isInteger(number));
    setWrong(text.trim() !== "" && !right);
    if (right || text.trim() === "") set(name, right ? number : null);
  }

  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        inputMode="decimal"
        min={least}
        max={most}
        step="any"
        defaultValue={value === undefined ? "" : String(value)}
        placeholder={t.serverDefault}
        aria-invalid={wrong}
        aria-describedby={`${name}-hint`}
        onInput={(event) => take(event.currentTarget.value)}
      />
      <span id={`${name}-hint`} class={wrong ? "quiet wrong" : "quiet"}>
        {wrong ? t.outOfRange(least, most) : hint}
      </span>
    </label>
  );
}
