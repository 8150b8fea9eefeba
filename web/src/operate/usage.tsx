import { useState } from "preact/hooks";
import type { Admin, Usage } from "../api/admin";
import { language } from "../i18n";
import { Notice } from "../ui/notice";
import { type Column, Table } from "./table";
import { useLoaded } from "./use-loaded";
import { words } from "./words";

const GROUPS = ["day", "tenant", "model"] as const;
type Group = (typeof GROUPS)[number];

const DAY = 86_400_000;

/** Days are those of UTC, as the ledger has them. */
function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

export function UsageView({ admin }: { admin: Admin }) {
  const t = words();
  const [groups, setGroups] = useState<readonly Group[]>(["day", "model"]);
  const [from, setFrom] = useState(dayOf(Date.now() - 6 * DAY));
  const [to, setTo] = useState(dayOf(Date.now()));
  const chosen = GROUPS.filter((group) => groups.includes(group));
  const { value: tenants } = useLoaded(() => admin.tenants(), [admin]);
  const usage = useLoaded(() => admin.usage(chosen, from, to), [admin, chosen.join(), from, to]);
  const names = new Map(tenants?.map(({ id, name }) => [id, name]));
  const titles = { day: t.byDay, tenant: t.byTenant, model: t.byModel };
  return (
    <section>
      <h2>{t.usage}</h2>
      <div class="filters">
        <label class="field">
          <span>{t.from}</span>
          <input type="date" value={from} max={to} onChange={({ currentTarget: { value } }) => value && setFrom(value)} />
        </label>
        <label class="field">
          <span>{t.to}</span>
          <input type="date" value={to} min={from} onChange={({ currentTarget: { value } }) => value && setTo(value)} />
        </label>
        <fieldset class="choices">
          <legend>{t.groupBy}</legend>
          {GROUPS.map((group) => (
            <label key={group} class="check">
              <input
                type="checkbox"
                checked={groups.includes(group)}
                onChange={({ currentTarget: { checked } }) =>
                  setGroups(checked ? [...groups, group] : groups.filter((other) => other !== group))
                }
              />
              {titles[group]}
            </label>
          ))}
        </fieldset>
      </div>
      {usage.failure && <Notice failure={usage.failure} retry={usage.again} />}
      {usage.value?.length === 0 && <p class="quiet">{t.nothing}</p>}
      {usage.value && usage.value.length > 0 && <Sums rows={usage.value} groups={chosen} names={names} />}
    </section>
  );
}

interface SumsProps {
  readonly rows: readonly Usage[];
  readonly groups: readonly Group[];
  readonly names: ReadonlyMap<string, string>;
}

const COUNTS = ["requests", "failed", "prompt_tokens", "cached_tokens", "completion_tokens"] as const;

function Sums({ rows, groups, names }: SumsProps) {
  const t = words();
  const whole = new Intl.NumberFormat(language.value);
  const heads = { day: t.day, tenant: t.tenant, model: t.pool };
  const counts = [t.requests, t.failed, t.read, t.cached, t.written];
  const sums = COUNTS.map((name) => whole.format(rows.reduce((sum, row) => sum + row[name], 0)));
  const label = (row: Usage, group: Group): string => {
    const value = row[group] ?? "";
    return group === "tenant" ? (names.get(value) ?? value) : value;
  };
  const columns: Column<Usage>[] = [
    ...groups.map((group) => ({ title: heads[group], cell: (row: Usage) => label(row, group) })),
    ...COUNTS.map((name, index) => ({
      title: counts[index] ?? name,
      number: true,
      cell: (row: Usage) => whole.format(row[name]),
    })),
  ];
  const foot = groups.map((_, index) => (index === 0 ? t.total : ""));
  return (
    <Table
      label={t.usage}
      rows={rows}
      columns={columns}
      id={(row) => groups.map((group) => row[group] ?? "").join("|")}
      {...(groups.length > 0 ? { foot: [...foot, ...sums] } : {})}
    />
  );
}
