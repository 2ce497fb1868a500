import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build, type Plugin } from "vite";

/** Fails the build when anything in the page's modules needs Node.js. */
const browserOnly: Plugin = {
  name: "browser-only",
  enforce: "pre",
  resolveId(source, importer) {
    if (source.startsWith("node:")) throw new Error(`${importer ?? "the page"} imports ${source}`);
  },
};

/** The program of docs/network.md, as the page imports it. */
const networkPage: Plugin = {
  name: "network-page",
  enforce: "pre",
  resolveId: (source) => (source === "docs/network.md" ? join(import.meta.dirname, "network-page.ts") : undefined),
  async load(id) {
    if (id !== join(import.meta.dirname, "network-page.ts")) return undefined;
    const document = await readFile(join(import.meta.dirname, "../../docs/network.md"), "utf8");
    const blocks = [...document.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
    return blocks.find((code) => code.includes("function startTab"));
  },
};

/** Bundles `page.ts` with the built packages, as an application's bundler would. */
export async function bundlePage(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "warn",
    root: import.meta.dirname,
    plugins: [browserOnly, networkPage],
    build: {
      write: false,
      minify: false,
      target: "es2022",
      modulePreload: false,
      rolldownOptions: { input: join(import.meta.dirname, "page.ts"), output: { codeSplitting: false } },
    },
  });
  if (!("output" in result)) throw new Error("vite gave no single output");
  const [chunk, ...others] = result.output;
  if (others.length > 0) throw new Error(`vite gave ${others.length} more files than one`);
  return chunk.code;
}

/** Serves the page on loopback, and ends with `close`. */
export class PageServer {
  readonly #server: Server;

  constructor(code: string) {
    this.#server = createServer((request, response) => {
      if (request.url === "/page.js") response.setHeader("content-type", "text/javascript").end(code);
      else if (request.url === "/") {
        response.setHeader("content-type", "text/html");
        response.end('<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>');
      } else response.writeHead(404).end();
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
