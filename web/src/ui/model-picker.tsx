import type { Model } from "../api/models";
import { strings } from "../i18n";
import { useApp } from "./app-context";
import { Icon } from "./icon";
import { Menu } from "./menu";

export function ModelPicker() {
  const t = strings.value;
  const { session, chat } = useApp();
  const models = session.chatModels.value;
  if (models === null) return <span class="model-picker" />;
  if (models.length === 0) return <span class="no-models">{t.noModels}</span>;
  const conversation = chat.current.value;
  const chosen = session.modelNamed(conversation.head.value.model);
  const states = { ready: t.modelReady, loading: t.modelLoading, unavailable: t.modelUnavailable };

  function choose(id: string): void {
    session.chooseModel(id);
    conversation.change({ model: id });
  }

  function detail(model: Model) {
    const facts = [
      model.context === null ? "" : t.modelContext(model.context),
      model.takesImages ? t.modelImages : "",
      model.state === "ready" ? "" : states[model.state],
    ].filter((fact) => fact !== "");
    return (
      <span class="entry-detail">
        <span class={`dot dot-${model.state}`} />
        {facts.join(" · ")}
      </span>
    );
  }

  const items = models.map((model) => ({
    label: model.id,
    checked: model.id === chosen?.id,
    detail: detail(model),
    run: () => choose(model.id),
  }));
  const state = chosen?.state ?? "loading";
  return (
    <Menu
      class="model-picker"
      label={`${t.model}: ${chosen?.id ?? ""}, ${states[state]}`}
      items={items}
      onOpen={() => void session.refresh()}
    >
      <span class={`dot dot-${state}`} />
      <span class="model-name">{chosen?.id}</span>
      <Icon name="chevron" />
    </Menu>
  );
}
