import { useMemo } from "preact/hooks";
import { Admin } from "../api/admin";
import { useApp } from "../ui/app-context";
import { FleetView } from "./fleet";
import { Keys } from "./keys";
import "./operate.css";
import { UsageView } from "./usage";

/** For administrators: what runs, who may use it, and what was used. */
export function Operate() {
  const { session } = useApp();
  const admin = useMemo(() => new Admin(() => session.client), [session]);
  return (
    <div class="operate">
      <FleetView admin={admin} />
      <UsageView admin={admin} />
      <Keys admin={admin} />
    </div>
  );
}
