import { expect, it } from "vitest";
import { fromList } from "../src/api/models";

it("knows what a model is for, and leaves out what is for nothing here", () => {
  const list = ["text", "embedding", "classification", "rerank"].map((modality) => ({ id: modality, modality }));
  expect(fromList(list).map(({ id, purpose }) => [id, purpose])).toEqual([
    ["text", "chat"],
    ["embedding", "embedding"],
    ["rerank", "rerank"],
  ]);
});

it("takes silence for a model that chats and is ready", () => {
  expect(fromList([{ id: "m" }])).toEqual([
    { id: "m", purpose: "chat", state: "ready", context: null, wait: null, takesImages: false },
  ]);
});

it("shows the state", () => {
  const list = ["ready", "loading", "unavailable", "new word"].map((status) => ({ id: "m", headrace: { status } }));
  expect(fromList(list).map(({ state }) => state)).toEqual(["ready", "loading", "unavailable", "ready"]);
});

it("takes images where the list or the configuration says so", () => {
  const list = [{ id: "a", input_modalities: ["text", "image"] }, { id: "b" }, { id: "c" }];
  expect(fromList(list, ["b"]).map(({ takesImages }) => takesImages)).toEqual([true, true, false]);
});
