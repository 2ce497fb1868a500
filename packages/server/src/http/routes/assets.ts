import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";

/** Beside `src` and `dist`, so found from either. */
const FOLDER = new URL("../../../dashboard/", import.meta.url);
const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
} as const;

const FILES: readonly (readonly [path: string, file: string, type: keyof typeof TYPES])[] = [
  ["/", "index.html", "html"],
  ["/dashboard/style.css", "style.css", "css"],
  ["/dashboard/icon.svg", "icon.svg", "svg"],
  ...["main", "dom", "format", "overview", "groups", "group", "sign-in"].map(
    (name) => [`/dashboard/${name}.js`, `${name}.js`, "js"] as const,
  ),
];

/** Nothing from elsewhere, nothing inline, and in nobody's frame. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-cache",
};

/** The files of the dashboard. They are the same for everybody, so they need no token. */
export async function assetRoutes(app: FastifyInstance): Promise<void> {
  for (const [path, file, type] of FILES) {
    const content = await readFile(new URL(file, FOLDER));
    app.get(path, { config: { needs: "nothing", isAsset: true } }, (_request, reply) =>
      reply.headers(HEADERS).type(TYPES[type]).send(content),
    );
  }
}
