import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { TokenStore } from "./token-store.ts";

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "coppice-tokens-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return join(path, "data");
}

async function textIn(data: string, file: string): Promise<string> {
  return (await readFile(join(data, file), "utf8")).trim();
}

test("the first opening makes an admin's and a reader's token, which later ones keep", async () => {
  const data = await directory();
  const store = await TokenStore.open(data);
  const admin = await textIn(data, "token");
  const reader = await textIn(data, "token.read");
  for (const opened of [store, await TokenStore.open(data)]) {
    expect(opened.identify(admin)?.info).toMatchObject({ scope: "admin", domains: undefined, expiresAt: undefined });
    expect(opened.identify(reader)?.info.scope).toBe("read");
    expect(opened.size).toBe(2);
  }
  expect(await textIn(data, "token")).toBe(admin);
});

test("every file is for its owner only, and the list holds no secret", async () => {
  const data = await directory();
  const { text } = await (await TokenStore.open(data)).create({ scope: "write" });
  await writeFile(join(data, "tokens.json"), await readFile(join(data, "tokens.json")), { mode: 0o644 });
  await TokenStore.open(data);
  for (const file of await readdir(data)) {
    expect({ file, mode: (await stat(join(data, file))).mode & 0o777 }).toEqual({ file, mode: 0o600 });
  }
  const stored = await readFile(join(data, "tokens.json"), "utf8");
  for (const secret of [text, await textIn(data, "token"), await textIn(data, "token.read")]) {
    expect(stored).not.toContain(secret.slice("cop_0123456789ab_".length));
  }
});

test("a token keeps its rights, its domains and its end over a restart, and is named by its text", async () => {
  const data = await directory();
  const expiresAt = Date.now() + 60_000;
  const { text, info } = await (
    await TokenStore.open(data)
  ).create({
    label: "ann",
    scope: "write",
    domains: ["notes", ""],
    expiresAt,
  });
  expect(text).toMatch(new RegExp(`^cop_${info.id}_[A-Za-z0-9_-]{43}$`));
  const store = await TokenStore.open(data);
  const grant = store.identify(text);
  expect(grant?.info).toEqual({ ...info, label: "ann", scope: "write", domains: ["notes", ""], expiresAt });
  expect(grant?.permits("write", ["notes", "a"])).toBe(true);
  expect(grant?.permits("write", "title")).toBe(true);
  expect(grant?.permits("read", ["words", "a"])).toBe(false);
  expect(grant?.permits("admin")).toBe(false);
  expect(store.list().map(({ id }) => id)).toContain(info.id);
});

test("refuses what differs from a token in anything", async () => {
  const store = await TokenStore.open(await directory());
  const { text, info } = await store.create({ scope: "read" });
  const last = text.endsWith("A") ? "B" : "A";
  for (const other of ["", "x", info.id, text.slice(0, -1), `${text}A`, text.slice(0, -1) + last, `${text} `]) {
    expect(store.identify(other)).toBeUndefined();
  }
});

test("revoking ends a token at once and for ever, and tells who holds it", async () => {
  const data = await directory();
  const store = await TokenStore.open(data);
  const { text, info } = await store.create({ scope: "write" });
  const grant = store.identify(text);
  let ended = 0;
  grant?.onEnd(() => ended++);
  const stop = grant?.onEnd(() => ended++);
  stop?.();
  expect(await store.revoke(info.id)).toBe(true);
  expect(ended).toBe(1);
  expect(grant?.isValid).toBe(false);
  expect(() => grant?.require("read")).toThrow(expect.objectContaining({ code: "TOKEN_REVOKED" }) as Error);
  expect(store.identify(text)).toBeUndefined();
  expect(await store.revoke(info.id)).toBe(false);
  expect((await TokenStore.open(data)).identify(text)).toBeUndefined();
});

test("an expired token is none, tells who holds it, and is not listed", async () => {
  const store = await TokenStore.open(await directory());
  const { text, info } = await store.create({ scope: "read", expiresAt: Date.now() + 1000 });
  const grant = store.identify(text);
  await new Promise<void>((resolve) => void grant?.onEnd(resolve));
  expect(grant?.isValid).toBe(false);
  expect(store.identify(text)).toBeUndefined();
  expect(store.list().map(({ id }) => id)).not.toContain(info.id);
});

test("revoking the token of a file replaces it there", async () => {
  const data = await directory();
  const store = await TokenStore.open(data);
  const before = await textIn(data, "token");
  await store.revoke(store.identify(before)?.info.id ?? "");
  const after = await textIn(data, "token");
  expect(after).not.toBe(before);
  for (const opened of [store, await TokenStore.open(data)]) {
    expect(opened.identify(before)).toBeUndefined();
    expect(opened.identify(after)?.info.scope).toBe("admin");
  }
});

test("a token file that was removed is made anew, and the old text is none any more", async () => {
  const data = await directory();
  await TokenStore.open(data);
  const before = await textIn(data, "token");
  await rm(join(data, "token"));
  const store = await TokenStore.open(data);
  expect(store.identify(before)).toBeUndefined();
  expect(store.identify(await textIn(data, "token"))?.info.scope).toBe("admin");
  expect(store.size).toBe(2);
});

test("without the list, the texts in the files still count", async () => {
  const data = await directory();
  await TokenStore.open(data);
  await rm(join(data, "tokens.json"));
  expect((await TokenStore.open(data)).identify(await textIn(data, "token"))?.info.scope).toBe("admin");
});

test.each([
  ["token", "hunter2"],
  ["token", ""],
  ["tokens.json", "{"],
  ["tokens.json", '{"version": 2, "tokens": []}'],
  ["tokens.json", '{"version": 1, "tokens": [{"id": "a", "scope": "god"}]}'],
])("a damaged %s (%s) is reported and left as it is", async (file, content) => {
  const data = await directory();
  await TokenStore.open(data);
  await writeFile(join(data, file), content);
  await expect(TokenStore.open(data)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  expect(await readFile(join(data, file), "utf8")).toBe(content);
});

test.each([
  { scope: "admin", domains: ["a"] } as const,
  { scope: "read", domains: [] } as const,
  { scope: "read", expiresAt: 1 } as const,
  { scope: "read", label: "x".repeat(101) } as const,
])("refuses to make %j", async (request) => {
  const store = await TokenStore.open(await directory());
  await expect(store.create(request)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
});

test("writes made together are all kept", async () => {
  const data = await directory();
  const store = await TokenStore.open(data);
  const made = await Promise.all(Array.from({ length: 20 }, () => store.create({ scope: "read" })));
  const again = await TokenStore.open(data);
  expect(made.every(({ text }) => again.identify(text) !== undefined)).toBe(true);
});
