import { mkdtemp, mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { firstLoad } from "../build/budget";

it("counts the page and what it names, not what comes later", async () => {
  const folder = await mkdtemp(join(tmpdir(), "budget-"));
  await mkdir(join(folder, "assets"));
  const noise = (size: number): string => Array.from({ length: size }, () => String.fromCharCode(33 + Math.random() * 90)).join("");
  await writeFile(join(folder, "index.html"), '<script src="/assets/a.js"></script><link href="/assets/b.css">');
  await writeFile(join(folder, "assets", "a.js"), noise(4000));
  await writeFile(join(folder, "assets", "b.css"), noise(2000));
  await writeFile(join(folder, "assets", "later.js"), noise(90_000));
  const size = await firstLoad(folder);
  expect(size).toBeGreaterThan(4500);
  expect(size).toBeLessThan(6500);
});
