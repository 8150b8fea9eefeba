import { useState } from "preact/hooks";
import { type Admin, type Key, type KeyMade, LIMITS, type Limits, type Tenant } from "../api/admin";
import { language, strings } from "../i18n";
import { Icon } from "../ui/icon";
import { Menu } from "../ui/menu";
import { Notice } from "../ui/notice";
import { Confirm, KeyForm, Made } from "./key-dialogs";
import { Table } from "./table";
import { useLoaded } from "./use-loaded";
import { words } from "./words";

type Open =
  | { readonly kind: "new" }
  | { readonly kind: "change" | "rotate" | "revoke"; readonly key: Key }
  | { readonly kind: "made"; readonly made: KeyMade };

const OVERLAP = 86_400;

export function Keys({ admin }: { admin: Admin }) {
  const t = words();
  const [open, setOpen] = useState<Open | null>(null);
  const [dead, setDead] = useState(false);
  const keys = useLoaded(() => admin.keys(), [admin]);
  const tenants = useLoaded(() => admin.tenants(), [admin]);
  const close = (): void => setOpen(null);
  const shown = keys.value?.filter((key) => dead || stateOf(key) === "active") ?? [];

  async function done(action: Promise<Key>): Promise<void> {
    await action;
    close();
    keys.again();
  }

  async function made(action: Promise<KeyMade>): Promise<void> {
    setOpen({ kind: "made", made: await action });
    keys.again();
  }

  return (
    <section>
      <div class="section-head">
        <h2>{t.keys}</h2>
        <button type="button" class="primary" disabled={tenants.value === null} onClick={() => setOpen({ kind: "new" })}>
          {t.newKey}
        </button>
      </div>
      {keys.failure && <Notice failure={keys.failure} retry={keys.again} />}
      {keys.value && (
        <>
          <KeyTable keys={shown} tenants={tenants.value ?? []} act={(kind, key) => setOpen({ kind, key })} />
          <label class="check">
            <input type="checkbox" checked={dead} onChange={(event) => setDead(event.currentTarget.checked)} />
            {t.showDead}
          </label>
        </>
      )}
      {open?.kind === "new" && (
        <KeyForm tenants={tenants.value ?? []} close={close} save={(key) => made(admin.create(key))} />
      )}
      {open?.kind === "change" && (
        <KeyForm
          tenants={tenants.value ?? []}
          old={open.key}
          close={close}
          save={({ name, limits, models, scopes }) => done(admin.change(open.key.id, { name, limits, models, scopes }))}
        />
      )}
      {open?.kind === "rotate" && (
        <Confirm
          title={t.rotateTitle(open.key.name)}
          hint={t.rotateHint}
          label={t.rotate}
          close={close}
          run={() => made(admin.rotate(open.key.id, OVERLAP))}
        />
      )}
      {open?.kind === "revoke" && (
        <Confirm
          title={t.revokeTitle(open.key.name)}
          hint={t.revokeHint}
          label={t.revoke}
          danger
          close={close}
          run={() => done(admin.revoke(open.key.id))}
        />
      )}
      {open?.kind === "made" && <Made text={open.made.key} close={close} />}
    </section>
  );
}

interface TableProps {
  readonly keys: readonly Key[];
  readonly tenants: readonly Tenant[];
  readonly act: (kind: "change" | "rotate" | "revoke", key: Key) => void;
}

function KeyTable({ keys, tenants, act }: TableProps) {
  const t = words();
  const names = new Map(tenants.map(({ id, name }) => [id, name]));
  const states = { active: t.active, revoked: t.revoked, expired: t.expired };
  const actions = (key: Key) => (
    <Menu
      class="small-tool"
      label={t.actionsFor(key.name)}
      items={[
        { label: t.change, icon: "pencil", run: () => act("change", key) },
        { label: t.rotate, icon: "again", run: () => act("rotate", key) },
        { label: t.revoke, icon: "trash", danger: true, run: () => act("revoke", key) },
      ]}
    >
      <Icon name="more" />
    </Menu>
  );
  return (
    <Table
      label={t.keys}
      rows={keys}
      id={(key: Key) => key.id}
      columns={[
        {
          title: t.name,
          cell: (key) => (
            <>
              <strong>{key.name}</strong>
              <br />
              <code>{key.id}</code>
            </>
          ),
        },
        { title: t.tenant, cell: (key) => names.get(key.tenant) ?? key.tenant },
        { title: t.scopes, cell: (key) => key.scopes.join(", ") },
        { title: t.models, cell: (key) => key.models?.join(", ") ?? t.all },
        { title: t.limits, cell: (key) => <LimitList limits={key.limits} /> },
        { title: t.created, cell: (key) => day(key.created_at) },
        { title: t.expires, cell: (key) => (key.expires_at === null ? t.never : day(key.expires_at)) },
        { title: t.state, cell: (key) => states[stateOf(key)] },
        { title: t.actions, cell: (key) => (stateOf(key) === "active" ? actions(key) : null) },
      ]}
    />
  );
}

function LimitList({ limits }: { limits: Limits }) {
  const t = words();
  const whole = new Intl.NumberFormat(language.value);
  const set = LIMITS.filter((name) => limits[name] !== undefined);
  if (set.length === 0) return <>{t.none}</>;
  return (
    <ul class="workers">
      {set.map((name) => (
        <li key={name}>
          {t[name]}: {whole.format(limits[name] ?? 0)}
        </li>
      ))}
    </ul>
  );
}

function stateOf({ revoked_at: revoked, expires_at: expires }: Key): "active" | "revoked" | "expired" {
  if (revoked !== null) return "revoked";
  return expires !== null && expires * 1000 < Date.now() ? "expired" : "active";
}

function day(seconds: number): string {
  void strings.value;
  return new Date(seconds * 1000).toLocaleDateString(language.value, { dateStyle: "medium" });
}
