import { builtinTypes } from "@coppice/crdt";
import { type Node, type NodeOptions, createNode } from "@coppice/replication";
import { request as httpRequest } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { onTestFinished } from "vitest";
import { contractOf } from "./openapi.test-support.ts";
import { type Gateway, type GatewayOptions, startGateway } from "./gateway.ts";

export const TOKEN = "t".repeat(43);
export const READ_TOKEN = "r".repeat(43);

export interface Answer {
  readonly status: number;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: unknown;
}

export interface RequestOptions {
  readonly headers?: { readonly [name: string]: string | undefined };
  /** JSON, or the text of a body. */
  readonly body?: unknown;
  readonly token?: string | undefined;
}

export interface Served {
  readonly node: Node;
  readonly gateway: Gateway;
  readonly errors: unknown[];
  /**
   * A request with the token; `fetch` would not let tests choose `Host` and `Origin`. Throws when the answer is not
   * what the OpenAPI document says.
   */
  readonly call: (method: string, path: string, options?: RequestOptions) => Promise<Answer>;
}

/** A node in memory with a gateway, closed at the end of the test. */
export async function serve(
  options: Partial<GatewayOptions> = {},
  nodeOptions: Partial<NodeOptions> = {},
  token: string = TOKEN,
): Promise<Served> {
  const node = await createNode({ types: builtinTypes, ...nodeOptions });
  onTestFinished(() => node.close());
  const errors: unknown[] = [];
  const tokens = new Map([
    [TOKEN, "admin"],
    [READ_TOKEN, "read"],
  ] as const);
  const gateway = await startGateway({
    node,
    types: builtinTypes,
    tokens,
    onError: (error) => errors.push(error),
    ...options,
  });
  onTestFinished(() => gateway.close());
  const document = await call(gateway, "GET", "/v1/openapi.json", { token });
  const check = contractOf(document.body);
  return {
    node,
    gateway,
    errors,
    call: async (method, path, request) => {
      const answer = await call(gateway, method, path, request);
      check(method, path, answer);
      return answer;
    },
  };
}

/** Of buffers, without those that nobody has any more. */
export function bytesInUse(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().arrayBuffers;
}

function call(gateway: Gateway, method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const { body } = options;
  const token = "token" in options ? options.token : TOKEN;
  const headers: Record<string, string> = {};
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value === undefined) delete headers[name];
    else headers[name] = value;
  }
  return new Promise((resolve, reject) => {
    const request = httpRequest(gateway.url + path, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const json = /json/.test(response.headers["content-type"] ?? "");
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: text === "" ? undefined : json ? (JSON.parse(text) as unknown) : text,
        });
      });
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body));
  });
}
