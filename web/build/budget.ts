// The page is to be there at once: what it loads before anything is seen has a limit, and the build fails beyond it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const LIMIT = 60 * 1024;

export function budget(): Plugin {
  let folder = "";
  return {
    name: "budget",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const size = await firstLoad(folder);
      if (size > LIMIT) throw new Error(`the first load is ${size} bytes (gzip), more than ${LIMIT}: load something later`);
    },
  };
}

/** Bytes, as gzip, of the page and all that it names. */
export async function firstLoad(folder: string): Promise<number> {
  const page = await readFile(join(folder, "index.html"), "utf8");
  const names = [...page.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => match[1] as string);
  const files = await Promise.all(names.map((name) => readFile(join(folder, name))));
  return [Buffer.from(page), ...files].reduce((sum, file) => sum + gzipSync(file).length, 0);
}
