import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { TlsOptions } from "../http/app.ts";
import { followCertificate } from "./certificate.ts";

test("a certificate is taken when its files have come to rest, and one that cannot be used is told of once", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-certificate-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const files = { cert: join(directory, "cert.pem"), key: join(directory, "key.pem") };
  const write = async (cert: string, key: string): Promise<void> => {
    await Promise.all([writeFile(files.cert, cert), writeFile(files.key, key)]);
  };
  await write("old", "old");
  const tried: TlsOptions[] = [];
  const events: string[] = [];
  const stop = followCertificate(
    {
      files,
      current: { cert: "old", key: "old" },
      renew: (tls) => {
        tried.push(tls);
        if (tls.cert !== tls.key) throw new Error("they are no pair");
        return new Date(0);
      },
      log: (_level, event, message) => void events.push(`${event}: ${message.replaceAll(directory, "D")}`),
    },
    20,
  );
  onTestFinished(stop);
  const rest = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200));
  await rest();
  expect(tried).toEqual([]);
  await write("new", "old");
  await rest();
  expect(events).toEqual([
    "certificate-refused: the new certificate in D/cert.pem is not taken, the former stays: they are no pair",
  ]);
  await write("new", "new");
  await rest();
  expect(tried).toEqual([
    { cert: "new", key: "old" },
    { cert: "new", key: "new" },
  ]);
  expect(events.at(-1)).toBe(
    "certificate-renewed: serves with the new certificate in D/cert.pem, good until 1970-01-01T00:00:00.000Z",
  );
  await rm(files.key);
  await rest();
  expect(events.slice(2)).toEqual([
    "certificate-refused: the new certificate in D/cert.pem is not taken, the former stays: D/key.pem does not exist",
  ]);
  stop();
  await write("newer", "newer");
  await rest();
  expect(tried).toHaveLength(2);
});
