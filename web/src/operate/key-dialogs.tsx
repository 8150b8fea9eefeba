import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type Key, LIMITS, type Limits, type NewKey, SCOPES, type Tenant } from "../api/admin";
import type { Failure } from "../api/failure";
import { strings } from "../i18n";
import { CopyButton } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { Notice } from "../ui/notice";
import { failureOf } from "./use-loaded";
import { words } from "./words";

/** Runs an action once at a time, and keeps what went wrong. */
function useAction(run: () => Promise<void>): { busy: boolean; failure: Failure | null; start: () => void } {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const start = (): void => {
    if (busy) return;
    setBusy(true);
    setFailure(null);
    run().catch((error: unknown) => {
      setFailure(failureOf(error));
      setBusy(false);
    });
  };
  return { busy, failure, start };
}

interface FormProps {
  readonly tenants: readonly Tenant[];
  /** The key that is changed; a new one is made where there is none. */
  readonly old?: Key;
  readonly close: () => void;
  readonly save: (key: NewKey) => Promise<void>;
}

export function KeyForm({ tenants, old, close, save }: FormProps) {
  const t = words();
  const [name, setName] = useState(old?.name ?? "");
  const [tenant, setTenant] = useState(old?.tenant ?? tenants[0]?.id ?? "");
  const [scopes, setScopes] = useState<readonly string[]>(old?.scopes ?? ["inference"]);
  const [models, setModels] = useState(old?.models?.join(", ") ?? "");
  const [limits, setLimits] = useState<Limits>(old?.limits ?? {});
  const [days, setDays] = useState("");
  const { busy, failure, start } = useAction(() => {
    const wanted = models.split(",").map((model) => model.trim()).filter(Boolean); // prettier-ignore
    const expires = days === "" ? null : Date.now() / 1000 + Number(days) * 86_400;
    return save({ name: name.trim(), tenant, scopes, models: wanted.length > 0 ? wanted : null, limits, expires_at: expires });
  });

  function limit(of: (typeof LIMITS)[number], text: string): void {
    const { [of]: _, ...rest } = limits;
    setLimits(text === "" ? rest : { ...rest, [of]: Number(text) });
  }

  return (
    <Dialog title={old === undefined ? t.newKey : old.name} close={close}>
      <form
        class="fields"
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <div class="numbers-grid">
          <Field label={t.name}>
            <input required maxLength={128} autofocus value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </Field>
          <Field label={t.tenant}>
            <select value={tenant} disabled={old !== undefined} onChange={(event) => setTenant(event.currentTarget.value)}>
              {tenants.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </Field>
        </div>
        <fieldset class="choices">
          <legend>{t.scopes}</legend>
          {SCOPES.map((scope) => (
            <label key={scope} class="check">
              <input
                type="checkbox"
                checked={scopes.includes(scope)}
                onChange={({ currentTarget: { checked } }) =>
                  setScopes(checked ? [...scopes, scope] : scopes.filter((other) => other !== scope))
                }
              />
              {scope}
            </label>
          ))}
        </fieldset>
        <Field label={t.models} hint={t.modelsHint}>
          <input value={models} onInput={(event) => setModels(event.currentTarget.value)} />
        </Field>
        <div class="numbers-grid">
          {LIMITS.map((of) => (
            <Field key={of} label={t[of]}>
              <input
                type="number"
                min={1}
                step={1}
                value={limits[of] ?? ""}
                placeholder={t.none}
                onInput={(event) => limit(of, event.currentTarget.value)}
              />
            </Field>
          ))}
          {old === undefined && (
            <Field label={t.expiresDays}>
              <input
                type="number"
                min={1}
                step={1}
                value={days}
                placeholder={t.never}
                onInput={(event) => setDays(event.currentTarget.value)}
              />
            </Field>
          )}
        </div>
        {failure && <Notice failure={failure} />}
        <Buttons close={close} label={strings.value.save} busy={busy || scopes.length === 0} />
      </form>
    </Dialog>
  );
}

interface ConfirmProps {
  readonly title: string;
  readonly hint: string;
  readonly label: string;
  readonly danger?: boolean;
  readonly close: () => void;
  readonly run: () => Promise<void>;
}

export function Confirm({ title, hint, label, danger = false, close, run }: ConfirmProps) {
  const { busy, failure, start } = useAction(run);
  return (
    <Dialog title={title} close={close}>
      <form
        class="fields"
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <p>{hint}</p>
        {failure && <Notice failure={failure} />}
        <Buttons close={close} label={label} busy={busy} danger={danger} />
      </form>
    </Dialog>
  );
}

/** The only place where a key is seen. */
export function Made({ text, close }: { text: string; close: () => void }) {
  const t = words();
  return (
    <Dialog title={t.made} close={close}>
      <p class="made">
        <code>{text}</code>
        <CopyButton text={text} label={t.copyKey} />
      </p>
      <div class="dialog-actions">
        <button type="button" class="primary" onClick={close}>
          {t.done}
        </button>
      </div>
    </Dialog>
  );
}

function Field({ label, hint, children }: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
      {hint && <span class="quiet">{hint}</span>}
    </label>
  );
}

interface ButtonsProps {
  readonly close: () => void;
  readonly label: string;
  readonly busy: boolean;
  readonly danger?: boolean;
}

function Buttons({ close, label, busy, danger = false }: ButtonsProps) {
  return (
    <div class="dialog-actions">
      <button type="button" class="secondary" onClick={close}>
        {strings.value.cancel}
      </button>
      <button type="submit" class={danger ? "primary danger" : "primary"} disabled={busy}>
        {label}
      </button>
    </div>
  );
}
