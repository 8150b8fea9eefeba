import { afterEach, expect, it, vi } from "vitest";
import { Admin } from "../src/api/admin";
import { RequestFailed } from "../src/api/failure";
import { error } from "./server";

afterEach(() => vi.unstubAllGlobals());

function answering(answer: (path: string, init: RequestInit) => Response): { asked: [string, string, unknown][]; admin: Admin } {
  const asked: [string, string, unknown][] = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    asked.push([init.method ?? "GET", path, typeof init.body === "string" ? JSON.parse(init.body) : null]);
    return answer(path, init);
  });
  return { asked, admin: new Admin(() => ({ key: "k", base: "" })) };
}

it("reads all pages", async () => {
  const { asked, admin } = answering((path) => {
    const more = !path.includes("after");
    return Response.json({ data: [{ id: more ? "a b" : "c" }], has_more: more });
  });
  expect((await admin.keys()).map(({ id }) => id)).toEqual(["a b", "c"]);
  expect(asked.map(([, path]) => path)).toEqual(["/admin/v1/keys?limit=1000", "/admin/v1/keys?limit=1000&after=a+b"]);
});

it("asks for what the buttons say", async () => {
  const { asked, admin } = answering(() => Response.json({ data: [], has_more: false }));
  await admin.rotate("x/y", 60);
  await admin.revoke("k1");
  await admin.change("k1", { name: "new" });
  await admin.usage(["day", "model"], "2026-11-01", "2026-11-02");
  expect(asked).toEqual([
    ["POST", "/admin/v1/keys/x%2Fy/rotate", { overlap: 60 }],
    ["POST", "/admin/v1/keys/k1/revoke", {}],
    ["PATCH", "/admin/v1/keys/k1", { name: "new" }],
    ["GET", "/admin/v1/usage?group_by=day%2Cmodel&from=2026-11-01&to=2026-11-02&limit=1000", null],
  ]);
});

it("tells a no", async () => {
  const { admin } = answering(() => error(403, "This key may not administer."));
  await expect(admin.fleet()).rejects.toThrow(RequestFailed);
  await expect(admin.fleet()).rejects.toThrow("may not administer");
});
