import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { AdmissionStore } from "./admission-store.ts";
import { formatInvite, parseInvite } from "./invite-text.ts";

const SOON = Date.now() + 3_600_000;

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "coppice-admission-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("an invite admits one peer, and it stays admitted over a restart", async () => {
  const data = await directory();
  const store = await AdmissionStore.open(data);
  expect(store.isOpen()).toBe(false);
  const { code, info } = await store.invite("berlin", SOON);
  expect(store.invites()).toEqual([info]);
  const reopened = await AdmissionStore.open(data);
  expect(reopened.isOpen()).toBe(true);
  expect(await reopened.redeem("peer-a", code)).toBe(true);
  expect(await reopened.redeem("peer-b", code)).toBe(false);
  // It may have missed the answer.
  expect(await reopened.redeem("peer-a", code)).toBe(true);
  const later = await AdmissionStore.open(data);
  expect([later.admits("peer-a"), later.admits("peer-b"), later.isOpen()]).toEqual([true, false, false]);
  expect(later.admitted()).toMatchObject([{ peer: "peer-a", label: "berlin" }]);
});

test("of peers that come at once with one invite, one gets in", async () => {
  const store = await AdmissionStore.open(await directory());
  const { code } = await store.invite("", SOON);
  const results = await Promise.all(["a", "b", "c", "d"].map((peer) => store.redeem(peer, code)));
  expect(results.filter(Boolean)).toHaveLength(1);
  expect(store.admitted()).toHaveLength(1);
});

test("a secret that differs in a bit, a revoked invite and an expired one admit nobody", async () => {
  const store = await AdmissionStore.open(await directory());
  const { code, info } = await store.invite("", SOON);
  const wrong = code.slice();
  wrong[37] = (wrong[37] ?? 0) ^ 1;
  expect(await store.redeem("a", wrong)).toBe(false);
  expect(await store.redeem("a", code.subarray(0, 37))).toBe(false);
  expect(await store.redeem("a", new Uint8Array(0))).toBe(false);
  expect(await store.revoke(info.id)).toBe(true);
  expect(await store.redeem("a", code)).toBe(false);
  const expired = await store.invite("", Date.now() - 1);
  expect(store.isOpen()).toBe(false);
  expect(await store.redeem("a", expired.code)).toBe(false);
  expect(store.admitted()).toEqual([]);
});

test("after too many wrong invites nobody unknown is let in for a while", async () => {
  const store = await AdmissionStore.open(await directory());
  const { code } = await store.invite("", SOON);
  for (let attempt = 0; attempt < 21; attempt++) await store.redeem("a", Uint8Array.of(attempt));
  expect(store.isOpen()).toBe(false);
  // Who presents the right one on a connection that stands is not to suffer from it.
  expect(await store.redeem("b", code)).toBe(true);
});

test("a peer that was forgotten is admitted no longer", async () => {
  const data = await directory();
  const store = await AdmissionStore.open(data);
  const { code } = await store.invite("", SOON);
  await store.redeem("a", code);
  expect(await store.forget("a")).toBe(true);
  expect(await store.forget("a")).toBe(false);
  expect((await AdmissionStore.open(data)).admits("a")).toBe(false);
});

test("the file is for its owner only, holds no secret, and is reported when damaged", async () => {
  const data = await directory();
  const store = await AdmissionStore.open(data);
  const { code } = await store.invite("", SOON);
  const path = join(data, "admission.json");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const secret = code.subarray(6);
  const text = await readFile(path, "utf8");
  for (const encoding of ["hex", "base64", "base64url"] as const) {
    expect(text).not.toContain(Buffer.from(secret).toString(encoding));
  }
  await writeFile(path, '{"version": 1, "invites": [{}], "admitted": [], "joined": []}');
  await expect(AdmissionStore.open(data)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});

test("an invite's text brings everything back, and anything else is refused", () => {
  const invite = {
    addresses: ["/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWx"],
    domains: ["notes", "words"],
    networkKey: "0f".repeat(32),
    code: Uint8Array.from({ length: 38 }, (_, index) => index),
    expiresAt: 1_900_000_000_000,
  };
  expect(parseInvite(` ${formatInvite(invite)}\n`)).toEqual(invite);
  const plain = { ...invite, domains: undefined, networkKey: undefined };
  expect(parseInvite(formatInvite(plain))).toEqual(plain);
  const texts = [
    "",
    "coppice-invite-1.",
    "coppice-invite-1.e30",
    formatInvite(invite).slice(0, -10),
    "x".repeat(20_000),
  ];
  for (const text of texts) expect(() => parseInvite(text)).toThrow(/no invite/);
  expect(() => parseInvite(formatInvite({ ...invite, code: new Uint8Array(5) }))).toThrow(/no invite/);
  expect(() => parseInvite(formatInvite({ ...invite, addresses: [] }))).toThrow(/no invite/);
});
