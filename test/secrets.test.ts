/** What a thief of the disk, or another user of the machine, finds: rows 13 and 14 of the threat model. */
import { mkdir, readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Daemon, coppice, temporaryDirectory } from "./daemon.test-support.ts";

async function* filesBelow(directory: string): AsyncGenerator<string> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) yield join(entry.parentPath, entry.name);
  }
}

test("files are for their owner only, and no secret is in data, log or export", { timeout: 120_000 }, async () => {
  const data = join(await temporaryDirectory(), "data");
  // As an administrator may have made it.
  await mkdir(data, { mode: 0o755 });
  const daemon = await Daemon.start(data);
  for (let index = 0; index < 3; index++) await coppice(["add", `n/${index}`, "--data", data]);
  const made = await coppice(["token", "create", "--scope", "write", "--data", data]);
  const invited = await coppice(["invite", "--json", "--data", data]);
  const link = await coppice(["dashboard", "--data", data]);
  await coppice(["snapshot", "--data", data]);
  const exported = join(data, "export.coppice");
  await coppice(["export", exported, "--data", data]);
  const { out: log } = await daemon.stop();

  const identity = await readFile(join(data, "secrets", "identity"));
  const invite = JSON.parse(
    Buffer.from((JSON.parse(invited.out) as { invite: string }).invite.split(".")[1] ?? "", "base64url").toString(),
  ) as { code: string };
  const secrets: Record<string, Buffer[]> = {
    token: [Buffer.from(secretOf(await readFile(join(data, "token"), "utf8")))],
    "token.read": [Buffer.from(secretOf(await readFile(join(data, "token.read"), "utf8")))],
    created: [Buffer.from(secretOf(made.out))],
    invite: [Buffer.from(invite.code), Buffer.from(invite.code, "base64url").subarray(6)],
    link: [Buffer.from(link.out.trim().split("code=")[1] ?? "")],
    // The private key within its protobuf.
    identity: [identity.subarray(4, 36)],
  };
  const own: Record<string, string> = { token: "token", "token.read": "token.read", identity: "secrets/identity" };
  const found: string[] = [];
  for await (const file of filesBelow(data)) {
    const name = file.slice(data.length + 1);
    expect({ name, mode: (await stat(file)).mode & 0o077 }).toEqual({ name, mode: 0 });
    const content = await readFile(file);
    for (const [secret, forms] of Object.entries(secrets)) {
      if (own[secret] !== name && forms.some((form) => content.includes(form))) found.push(`${secret} in ${name}`);
    }
  }
  for (const [secret, forms] of Object.entries(secrets)) {
    for (const form of forms) {
      expect({ secret, length: form.length > 20 }).toEqual({ secret, length: true });
      if (log.includes(form.toString("latin1"))) found.push(`${secret} in the log`);
    }
  }
  expect(found).toEqual([]);
});

/** A token without the part that names it. */
function secretOf(text: string): string {
  return text.trim().split("_").slice(2).join("_");
}
