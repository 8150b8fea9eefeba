import type { Model } from "../api/models";
import type { Session } from "../chat/session";
import { strings } from "../i18n";

export function ModelPicker({ session }: { session: Session }) {
  const t = strings.value;
  const models = session.models.value;
  if (models?.length === 0) return <span class="no-models">{t.noModels}</span>;
  if (models === null) return <span class="no-models" />;
  const chosen = session.model.value;
  return (
    <label class="model-picker">
      <span class={`dot dot-${chosen?.state ?? "loading"}`} />
      <span class="hidden">{t.model}</span>
      <select
        value={chosen?.id ?? ""}
        onChange={(event) => session.chooseModel(event.currentTarget.value)}
        onFocus={() => void session.refresh()}
      >
        {models.map((model) => (
          <option key={model.id} value={model.id}>
            {label(model)}
          </option>
        ))}
      </select>
    </label>
  );

  function label({ id, state }: Model): string {
    if (state === "ready") return id;
    return `${id} (${state === "loading" ? t.modelLoading : t.modelUnavailable})`;
  }
}
