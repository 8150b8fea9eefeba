import { expect, it } from "vitest";
import { fromJson } from "../src/config";

it("takes what is there and stands what is not", () => {
  const oidc = { issuer: "https://id.example/", client_id: "page" };
  expect(fromJson({ version: "1", api: "https://api.example", images: ["seer", 3], oidc, more: 1 })).toEqual({
    version: "1",
    api: "https://api.example",
    images: ["seer"],
    oidc: { issuer: "https://id.example", client: "page", scope: "openid profile", token: "access_token" },
  });
  for (const nothing of [null, {}, [], "x", { version: 3, api: null, oidc: { issuer: 3 } }]) {
    expect(fromJson(nothing)).toEqual({ version: "", api: "", images: [], oidc: null });
  }
});
