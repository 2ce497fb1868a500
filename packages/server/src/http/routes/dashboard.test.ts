import { expect, onTestFinished, test } from "vitest";
import { TokenStore } from "../../auth/token-store.ts";
import { type Served, TOKEN, serve } from "../gateway.test-support.ts";
import { NoticeLog } from "../notice-log.ts";

async function fill(served: Served): Promise<void> {
  for (let index = 0; index < 12; index++) {
    const body = { type: index % 2 === 0 ? "gcounter" : "pncounter", operations: [] as object[] };
    for (let event = 0; event <= index; event++) body.operations.push({ op: "increment" });
    for (let event = 0; event <= index % 3; event++) {
      await served.call("POST", `/v1/groups/words%2F${String.fromCharCode(97 + index)}/operations`, { body });
    }
  }
}

async function listed(served: Served, query: string): Promise<{ total: number; ids: string[] }> {
  const { body } = await served.call("GET", `/v1/dashboard/groups?${query}`);
  const { total, groups } = body as { total: number; groups: { id: string }[] };
  return { total, ids: groups.map(({ id }) => id.slice("words/".length)) };
}

/** Signs in and returns what the browser would send. */
async function cookie(served: Served): Promise<string> {
  const answer = await served.call("POST", "/v1/dashboard/sessions", { body: {} });
  expect(answer.status).toBe(204);
  const [set = ""] = answer.headers["set-cookie"] ?? [];
  expect(set).toMatch(/^coppice_127_0_0_1_\d+=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
  return set.split(";", 1)[0] ?? "";
}

test("groups are searched, sorted and paged by the server", async () => {
  const served = await serve();
  await fill(served);
  expect(await listed(served, "limit=3")).toEqual({ total: 12, ids: ["a", "b", "c"] });
  expect(await listed(served, "limit=3&offset=10")).toEqual({ total: 12, ids: ["k", "l"] });
  expect(await listed(served, "order=desc&limit=2")).toEqual({ total: 12, ids: ["l", "k"] });
  expect(await listed(served, "search=WORDS/K")).toEqual({ total: 1, ids: ["k"] });
  expect(await listed(served, "search=pnco&limit=2")).toEqual({ total: 6, ids: ["b", "d"] });
  expect(await listed(served, "sort=events&order=desc&limit=5")).toEqual({ total: 12, ids: ["l", "i", "f", "c", "k"] });
  expect(await listed(served, "sort=type&limit=7")).toMatchObject({ ids: ["a", "c", "e", "g", "i", "k", "b"] });
  await served.call("DELETE", "/v1/groups/words%2Fa");
  await expect.poll(() => listed(served, "limit=1")).toEqual({ total: 11, ids: ["b"] });
  for (const bad of ["sort=size", "limit=0", "limit=1000", "offset=-1", "order=up"]) {
    expect(await served.call("GET", `/v1/dashboard/groups?${bad}`)).toMatchObject({ status: 400 });
  }
});

test("a group's details have its vector and its members", async () => {
  const served = await serve();
  await fill(served);
  const { body } = await served.call("GET", "/v1/dashboard/groups/words%2Fc");
  expect(body).toMatchObject({
    group: { id: "words/c", type: "gcounter", events: 3 },
    vector: [{ events: 3 }],
    members: [served.node.id],
    lagEvents: 0,
    stuck: false,
    comparedAt: null,
  });
  expect(await served.call("GET", "/v1/dashboard/groups/none")).toMatchObject({ status: 404 });
});

test("the stream tells of the node at once, and of notices", async () => {
  const notices = new NoticeLog();
  for (let count = 0; count < 300; count++) notices.add({ code: "CLOCK_SKEW", message: `number ${count}` });
  const served = await serve({ notices });
  await fill(served);
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const response = await fetch(`${served.gateway.url}/v1/dashboard/stream`, {
    headers: { authorization: `Bearer ${TOKEN}` },
    signal: controller.signal,
  });
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += new TextDecoder().decode(chunk);
    if (/event: overview\ndata: .*\n\n/.test(text)) break;
  }
  const overview = JSON.parse(/data: (.*)\n/.exec(text)?.[1] ?? "") as { notices: object[] };
  expect(overview).toMatchObject({
    groups: 12,
    events: 24,
    storage: "ok",
    peers: [],
    lagEvents: 0,
    stuck: 0,
    watchers: 1,
  });
  expect(overview.notices).toHaveLength(30);
  expect(overview.notices[0]).toMatchObject({ code: "CLOCK_SKEW", message: "number 299" });
});

test("a browser that has signed in reads, and changes nothing", async () => {
  const served = await serve();
  await fill(served);
  const headers = { cookie: await cookie(served) };
  const as = { token: undefined, headers };
  expect(await served.call("GET", "/v1/status", as)).toMatchObject({ status: 200 });
  expect(await served.call("GET", "/v1/dashboard/groups", as)).toMatchObject({ status: 200 });
  const body = { operations: [{ op: "increment" }] };
  const writes = [
    served.call("POST", "/v1/groups/words%2Fa/operations", { ...as, body }),
    served.call("DELETE", "/v1/groups/words%2Fa", as),
    served.call("POST", "/v1/snapshots", { ...as, body: {} }),
    served.call("POST", "/v1/tokens", { ...as, body: { scope: "admin" } }),
    served.call("POST", "/v1/dashboard/sessions", { ...as, body: {} }),
    served.call("POST", "/v1/dashboard/links", { ...as, body: {} }),
    served.call("GET", "/v1/tokens", as),
  ];
  const statuses = (await Promise.all(writes)).map(({ status }) => status);
  expect(statuses).toEqual([401, 401, 401, 401, 401, 401, 403]);
  expect(await served.call("DELETE", "/v1/dashboard/sessions", as)).toMatchObject({ status: 204 });
  expect(await served.call("GET", "/v1/status", as)).toMatchObject({ status: 401 });
});

test("a cookie counts only for pages of this server", async () => {
  const served = await serve();
  const own = await cookie(served);
  const status = async (headers: Record<string, string>): Promise<number> => {
    return (await served.call("GET", "/v1/status", { token: undefined, headers: { cookie: own, ...headers } })).status;
  };
  expect(await status({ "sec-fetch-site": "same-origin" })).toBe(200);
  expect(await status({ "sec-fetch-site": "none" })).toBe(200);
  // The same site is not the same server: another port of this machine is of the same site.
  expect(await status({ "sec-fetch-site": "same-site" })).toBe(401);
  expect(await status({ "sec-fetch-site": "cross-site" })).toBe(401);
  expect(await status({ origin: "http://127.0.0.1:1" })).toBe(403);
  expect(await status({ cookie: `x=y; ${own}` })).toBe(200);
  expect(await status({ cookie: `${own}x` })).toBe(401);
  expect(await status({ cookie: own.replace(/_\d+=/, "_1=") })).toBe(401);
});

test("a session ends with its token", async () => {
  const tokens = TokenStore.of(new Map([[TOKEN, "admin"]]));
  const served = await serve({ tokens });
  const { text, info } = await tokens.create({ scope: "read" });
  const answer = await served.call("POST", "/v1/dashboard/sessions", { body: {}, token: text });
  const headers = { cookie: String(answer.headers["set-cookie"]).split(";", 1)[0] };
  expect(await served.call("GET", "/v1/status", { token: undefined, headers })).toMatchObject({ status: 200 });
  await tokens.revoke(info.id);
  expect(await served.call("GET", "/v1/status", { token: undefined, headers })).toMatchObject({ status: 401 });
});

test("a link signs in once", async () => {
  const served = await serve();
  const { body } = await served.call("POST", "/v1/dashboard/links", { body: {} });
  const { url } = body as { url: string };
  const [address, code] = url.split("/#code=");
  expect(address).toBe(served.gateway.url);
  const open = async (): Promise<number> => {
    return (await served.call("POST", "/v1/dashboard/links/open", { token: undefined, body: { code } })).status;
  };
  expect([await open(), await open()]).toEqual([204, 401]);
});

test("the files need no token, and allow nothing from elsewhere and nothing inline", async () => {
  const { gateway } = await serve();
  const page = await fetch(`${gateway.url}/`);
  const text = await page.text();
  expect(page.status).toBe(200);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const policy = page.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'none'; script-src 'self'");
  expect(policy).not.toContain("unsafe");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(text).not.toMatch(/<style|style=|<script>|\son\w+=|https?:/);
  const named = [...text.matchAll(/(?:src|href)="(\/[^"#]+)"/g)].map(([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(3);
  for (const path of named) {
    const file = await fetch(gateway.url + path);
    expect({ path, status: file.status, nosniff: file.headers.get("x-content-type-options") }).toEqual({
      path,
      status: 200,
      nosniff: "nosniff",
    });
  }
  for (const path of ["/dashboard/../package.json", "/dashboard/%2e%2e/package.json", "/dashboard/secret.js"]) {
    expect((await fetch(gateway.url + path)).status).toBe(401);
  }
});
