import { expect, it } from "vitest";
import { fromList } from "../src/api/models";

it("leaves out what does not chat", () => {
  const list = ["text", "embedding", "classification", "rerank"].map((modality) => ({ id: modality, modality }));
  expect(fromList(list).map(({ id }) => id)).toEqual(["text"]);
});

it("takes silence for a model that chats and is ready", () => {
  expect(fromList([{ id: "m" }])).toEqual([{ id: "m", state: "ready", context: null }]);
});

it("shows the state", () => {
  const list = ["ready", "loading", "unavailable", "new word"].map((status) => ({ id: "m", headrace: { status } }));
  expect(fromList(list).map(({ state }) => state)).toEqual(["ready", "loading", "unavailable", "ready"]);
});
