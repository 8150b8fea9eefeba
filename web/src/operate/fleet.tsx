import type { Admin, Pool } from "../api/admin";
import { language } from "../i18n";
import { Notice } from "../ui/notice";
import { Table } from "./table";
import { useLoaded } from "./use-loaded";
import { words } from "./words";

const LOOK_EVERY = 2_000;

export function FleetView({ admin }: { admin: Admin }) {
  const t = words();
  const { value: fleet, failure, again } = useLoaded(() => admin.fleet(), [admin], LOOK_EVERY);
  const whole = new Intl.NumberFormat(language.value);
  return (
    <section>
      <h2>{t.fleet}</h2>
      {failure && <Notice failure={failure} retry={again} />}
      {fleet === null && failure === null && <p class="quiet">{t.loading}</p>}
      {fleet && (
        <>
          <Table
            label={t.fleet}
            rows={fleet.pools}
            id={(pool: Pool) => pool.name}
            columns={[
              { title: t.pool, cell: (pool) => <strong>{pool.name}</strong> },
              { title: t.kind, cell: (pool) => pool.modality },
              { title: t.workers, cell: (pool) => <Workers pool={pool} /> },
              { title: t.waiting, number: true, cell: (pool) => whole.format(pool.queued) },
              { title: t.wait, number: true, cell: (pool) => t.seconds(pool.wait_ms) },
            ]}
          />
          <p class="quiet">
            {t.routers}:{" "}
            {fleet.routers.map(({ url, reachable }) => `${url} (${reachable ? t.reachable : t.unreachable})`).join(", ")}
          </p>
        </>
      )}
    </section>
  );
}

function Workers({ pool }: { pool: Pool }) {
  if (pool.workers.length === 0) return <span class="quiet">{words().noWorkers}</span>;
  return (
    <ul class="workers">
      {pool.workers.map(({ name, state }) => (
        <li key={name}>
          <span class={`dot dot-${state === "ready" ? "ready" : state === "down" ? "unavailable" : "loading"}`} />
          {name} <span class="quiet">{state}</span>
        </li>
      ))}
    </ul>
  );
}
