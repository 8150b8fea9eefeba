import { defineConfig } from "vitest/config";
import { budget } from "./build/budget";
import { compress } from "./build/compress";

const API = process.env["HEADRACE_API"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [budget(), compress()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the policy admits nothing inline
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/tokenize", "/detokenize", "/admin"].map((path) => [path, API])),
  },
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "node",
  },
});
