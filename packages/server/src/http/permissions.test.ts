/** Every route of the OpenAPI document refuses those who may not, and only those. */
import { builtinTypes } from "@coppice/crdt";
import { yjsDoc } from "@coppice/crdt/yjs";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { SCOPES, type Scope } from "../auth/grant.ts";
import { TokenStore } from "../auth/token-store.ts";
import { type Served, serve } from "./gateway.test-support.ts";

const ADMIN = "a".repeat(43);
const types = [...builtinTypes, yjsDoc({ note: "text" })];

interface Described {
  readonly method: string;
  readonly path: string;
  /** Undefined: it needs no token. */
  readonly scope: Scope | undefined;
  readonly over: string | undefined;
  readonly isSocket: boolean;
  readonly hasBody: boolean;
}

interface Document {
  readonly paths: Record<
    string,
    Record<
      string,
      {
        readonly security: readonly { readonly token: readonly [Scope, string?] }[];
        readonly responses: Record<string, object>;
        readonly requestBody?: object;
      }
    >
  >;
}

async function served(): Promise<{ server: Served; tokens: TokenStore; routes: Described[] }> {
  const tokens = TokenStore.of(new Map([[ADMIN, "admin"]]));
  const storage = createGroupStore(memoryStorage());
  const server = await serve({ tokens, types, storage }, { types, storage }, ADMIN);
  const { body } = await server.call("GET", "/v1/openapi.json", { token: ADMIN });
  const routes = Object.entries((body as Document).paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security, responses, requestBody }]): Described => {
      const [scope, over] = security[0]?.token ?? [];
      const isSocket = "101" in responses;
      return { method: method.toUpperCase(), path, scope, over, isSocket, hasBody: requestBody !== undefined };
    }),
  );
  return { server, tokens, routes };
}

/** The code of the refusal, or `allowed` when the route itself was reached. */
async function outcome(server: Served, route: Described, token: string | undefined): Promise<string> {
  const path = route.path.replace("{id}", "notes%2Fnothing").replaceAll(/\{\w+\}/g, "nothing");
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  if (route.isSocket) return await socketOutcome(server.gateway.url.replace("http", "ws") + path, headers);
  if (route.method === "POST") {
    headers["content-type"] = route.path.endsWith("/document") ? "application/octet-stream" : "application/json";
  }
  return await new Promise((resolve, reject) => {
    const request = httpRequest(server.gateway.url + path, { method: route.method, headers }, (response) => {
      resolve(read(response));
    });
    request.on("error", reject);
    // No body: what is let through fails at its schema and changes nothing.
    request.end();
  });
}

async function socketOutcome(url: string, headers: Record<string, string>): Promise<string> {
  return await new Promise((resolve) => {
    const socket = new WebSocket(url, { headers });
    socket.on("error", () => undefined);
    socket.on("open", () => {
      socket.terminate();
      resolve("allowed");
    });
    socket.on("unexpected-response", (_request, response) => {
      resolve(read(response));
      response.on("close", () => socket.terminate());
    });
  });
}

async function read(response: IncomingMessage): Promise<string> {
  if (response.headers["content-type"]?.startsWith("text/event-stream") === true) {
    response.destroy();
    return "allowed";
  }
  let text = "";
  for await (const chunk of response) text += String(chunk);
  if (response.headers["content-type"]?.startsWith("application/problem+json") !== true) return "allowed";
  const { code, status } = JSON.parse(text) as { code: string; status: number };
  expect(response.statusCode).toBe(status);
  return code === "UNAUTHORIZED" || code === "FORBIDDEN" ? `${status} ${code}` : "allowed";
}

test("every route says what it needs, and refuses who has less", async () => {
  const { server, tokens, routes } = await served();
  expect(routes.length).toBeGreaterThan(20);
  const texts = new Map<string, string>();
  for (const scope of SCOPES) texts.set(scope, (await tokens.create({ scope })).text);
  const elsewhere = (await tokens.create({ scope: "write", domains: ["words"] })).text;
  const here = (await tokens.create({ scope: "write", domains: ["words", "notes"] })).text;
  // What they do is to look at a secret of another kind.
  expect(routes.filter(({ scope }) => scope === undefined).map(({ method, path }) => `${method} ${path}`)).toEqual([
    "DELETE /v1/dashboard/sessions",
    "POST /v1/dashboard/links/open",
  ]);
  for (const route of routes) {
    if (route.scope === undefined) continue;
    const name = `${route.method} ${route.path}`;
    const seen: Record<string, string> = { nobody: await outcome(server, route, undefined) };
    for (const scope of SCOPES) seen[scope] = await outcome(server, route, texts.get(scope));
    seen["elsewhere"] = await outcome(server, route, elsewhere);
    seen["here"] = await outcome(server, route, here);
    const refused = "403 FORBIDDEN";
    const rank = SCOPES.indexOf(route.scope);
    const isForAny = route.over === undefined || route.path === "/v1/views/{name}";
    // A socket for a document that does not exist would create it.
    const creates = route.path === "/v1/yjs/{id}";
    expect({ name, ...seen }).toEqual({
      name,
      nobody: "401 UNAUTHORIZED",
      read: rank > 0 || creates ? refused : "allowed",
      write: rank > 1 ? refused : "allowed",
      admin: "allowed",
      elsewhere: isForAny ? "allowed" : refused,
      here: isForAny || (route.over === "domain of the group" && rank < 2) ? "allowed" : refused,
    });
  }
  expect(server.errors).toEqual([]);
});

test("a token for some domains sees and changes their groups, and no others", async () => {
  const { server, tokens } = await served();
  const { call } = server;
  const { text: token } = await tokens.create({ scope: "write", domains: ["notes"] });
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  for (const id of ["notes%2Fa", "words%2Fa", "notes"]) {
    await call("POST", `/v1/groups/${id}/operations`, { body, token: ADMIN });
  }
  expect(await call("POST", "/v1/groups/notes%2Fa/operations", { body, token })).toMatchObject({ status: 200 });
  // The group `notes` is no tuple: it belongs to the default domain.
  for (const id of ["words%2Fa", "notes"]) {
    for (const path of [`/v1/groups/${id}`, `/v1/groups/${id}/value`, `/v1/groups/${id}/watch`]) {
      expect(await call("GET", path, { token })).toMatchObject({ status: 403, body: { code: "FORBIDDEN" } });
    }
    expect(await call("DELETE", `/v1/groups/${id}`, { token })).toMatchObject({ status: 403 });
  }
  const listed = await call("GET", "/v1/groups", { token });
  expect(listed.body).toMatchObject({ groups: [{ id: "notes/a" }], next: null });
  expect(await call("GET", "/v1/status", { token })).toMatchObject({ body: { groups: 1 } });
});

test("a view says which domains it reads; without that it needs all of them", async () => {
  const tokens = TokenStore.of(new Map([[ADMIN, "admin"]]));
  const view = { kind: "scalar", handler: () => 1 } as const;
  const views = [
    { ...view, name: "everything" },
    { ...view, name: "notes", domains: ["notes"] },
    { ...view, name: "more", domains: ["notes", "words"], permission: "write" },
  ] as const;
  const { call } = await serve({ tokens, views }, {}, ADMIN);
  const { text: token } = await tokens.create({ scope: "write", domains: ["notes"] });
  const status = async (name: string, as: string): Promise<number> => {
    return (await call("POST", `/v1/views/${name}`, { body: {}, token: as })).status;
  };
  expect(await Promise.all(["everything", "notes", "more"].map((name) => status(name, token)))).toEqual([
    403, 200, 403,
  ]);
  expect(await Promise.all(["everything", "notes", "more"].map((name) => status(name, ADMIN)))).toEqual([
    200, 200, 200,
  ]);
});

test("tokens are made, listed without secrets, and revoked over HTTP", async () => {
  const { server } = await served();
  const { call } = server;
  const body = { label: "ann", scope: "read", domains: ["notes"], expiresInSeconds: 60 };
  const created = (await call("POST", "/v1/tokens", { body, token: ADMIN })).body as { token: string; id: string };
  expect(created).toMatchObject({ label: "ann", scope: "read", domains: ["notes"] });
  expect(await call("GET", "/v1/status", { token: created.token })).toMatchObject({ status: 200 });
  const list = await call("GET", "/v1/tokens", { token: ADMIN });
  expect(list.body).toMatchObject({ tokens: [{ scope: "admin" }, { id: created.id, label: "ann" }] });
  expect(JSON.stringify(list.body)).not.toContain(created.token.slice(17));
  expect(await call("DELETE", `/v1/tokens/${created.id}`, { token: ADMIN })).toMatchObject({ status: 204 });
  expect(await call("GET", "/v1/status", { token: created.token })).toMatchObject({ status: 401 });
  expect(await call("DELETE", `/v1/tokens/${created.id}`, { token: ADMIN })).toMatchObject({ status: 404 });
  for (const bad of [{}, { scope: "root" }, { scope: "admin", domains: ["a"] }, { scope: "read", domains: [] }]) {
    expect(await call("POST", "/v1/tokens", { body: bad, token: ADMIN })).toMatchObject({ status: 400 });
  }
});

test("streams and sockets end with a code when their token is revoked or expires", async () => {
  const { server, tokens } = await served();
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  await server.call("POST", "/v1/groups/n/operations", { body, token: ADMIN });
  for (const ending of ["revoke", "expire"]) {
    const expiry = ending === "expire" ? { expiresAt: Date.now() + 500 } : {};
    const { text, info } = await tokens.create({ scope: "write", ...expiry });
    const headers = { authorization: `Bearer ${text}` };
    const response = await fetch(`${server.gateway.url}/v1/groups/n/watch`, { headers });
    const stream = response.text();
    const sockets = ["/v1/watch", "/v1/yjs/note"].map((path) => {
      const socket = new WebSocket(server.gateway.url.replace("http", "ws") + path, { headers });
      onTestFinished(() => socket.terminate());
      return socket;
    });
    const closed = sockets.map(async (socket) => {
      const [code, reason] = (await once(socket, "close")) as [number, Buffer];
      return `${code} ${reason.toString()}`;
    });
    await Promise.all(sockets.map((socket) => once(socket, "open")));
    if (ending === "revoke") await tokens.revoke(info.id);
    expect(await Promise.all(closed)).toEqual(["1008 TOKEN_REVOKED", "1008 TOKEN_REVOKED"]);
    expect(await stream).toMatch(/event: value\n.*\n\nevent: error\ndata: \{"code":"TOKEN_REVOKED",.*\}\n\n$/s);
  }
});

test("a socket is refused, message by message, what its token is not good for", async () => {
  const { server, tokens } = await served();
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  for (const id of ["notes%2Fa", "words%2Fa"]) {
    await server.call("POST", `/v1/groups/${id}/operations`, { body, token: ADMIN });
  }
  const { text } = await tokens.create({ scope: "read", domains: ["notes"] });
  const url = `${server.gateway.url.replace("http", "ws")}/v1/watch`;
  const socket = new WebSocket(url, { headers: { authorization: `Bearer ${text}` } });
  onTestFinished(() => socket.terminate());
  const messages: unknown[] = [];
  socket.on("message", (data: Buffer) => messages.push(JSON.parse(data.toString())));
  await once(socket, "open");
  socket.send(JSON.stringify({ watch: "words/a" }));
  socket.send(JSON.stringify({ watch: "notes/a" }));
  await expect.poll(() => messages.length).toBe(2);
  expect(messages).toMatchObject([
    { event: "error", id: "words/a", code: "FORBIDDEN" },
    { event: "value", id: "notes/a" },
  ]);
});
