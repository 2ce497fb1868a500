import { multiaddr } from "@multiformats/multiaddr";
import { afterEach, expect, test } from "vitest";
import type { PeerId } from "../transport.ts";
import { ADMISSION_PROTOCOL, type Admission } from "./admission.ts";
import { type Intruder, Lab, noticed } from "./lab.test-support.ts";
import { PROTOCOL } from "./wire.ts";

const INVITE = Uint8Array.from({ length: 48 }, (_, index) => index);

let lab = new Lab();
afterEach(async () => {
  await lab.close();
  lab = new Lab();
});

/** Admits whoever presents the invite, once. */
class OneInvite implements Admission {
  readonly admitted = new Set<PeerId>();
  readonly presented: Uint8Array[] = [];
  isUsed = false;
  isClosed = false;

  admits(peer: PeerId): boolean {
    return this.admitted.has(peer);
  }

  isOpen(): boolean {
    return !this.isClosed && !this.isUsed;
  }

  async redeem(peer: PeerId, invite: Uint8Array): Promise<boolean> {
    this.presented.push(invite);
    const isRight = !this.isUsed && Buffer.compare(invite, INVITE) === 0;
    if (isRight) {
      this.isUsed = true;
      this.admitted.add(peer);
    }
    return isRight;
  }
}

/** What a bare node gets for presenting bytes. */
async function present(intruder: Intruder, address: string, bytes: Uint8Array): Promise<number | "ended"> {
  const connection = await intruder.node.dial(multiaddr(address), { force: true });
  const stream = await connection.newStream(ADMISSION_PROTOCOL);
  return await new Promise((resolve) => {
    stream.addEventListener("message", ({ data }) => resolve(data.subarray()[0] ?? 0));
    stream.addEventListener("close", () => resolve("ended"));
    stream.send(bytes);
  });
}

test("an invite admits the peer that presents it, and no other", async () => {
  const admission = new OneInvite();
  const host = await lab.start({ allow: [], admission });
  const invitation = { addresses: ["/ip4/127.0.0.1/tcp/1", host.address], invite: INVITE };
  const joiner = await lab.start({ allow: [], peers: [host.address], invitation });
  await host.until("link to the joiner", () => host.links.has(joiner.id));
  expect([...admission.admitted]).toEqual([joiner.id]);
  expect(admission.presented).toEqual([INVITE]);
  const late = lab.peer({ allow: [], invitation: { ...invitation, addresses: [host.address] } });
  // It is closed again: nobody unknown gets as far as presenting anything.
  await expect(late.start()).rejects.toMatchObject({ code: "DIAL_FAILED" });
  expect(noticed(host, "NOT_ADMITTED")).toContain("refused");
});

test("a wrong invite is refused, and leaves the peer outside", async () => {
  const admission = new OneInvite();
  const host = await lab.start({ allow: [], admission });
  const invite = INVITE.map((byte) => byte ^ 1);
  const joiner = lab.peer({ allow: [], peers: [host.address], invitation: { addresses: [host.address], invite } });
  await expect(joiner.start()).rejects.toMatchObject({ code: "NOT_ADMITTED" });
  expect(admission.admitted.size).toBe(0);
  expect(host.links.size).toBe(0);
});

test("an invite that leads to another peer than it names is not presented", async () => {
  const admission = new OneInvite();
  const host = await lab.start({ allow: [], admission });
  const other = await lab.intruder();
  const address = host.address.replace(/\/p2p\/.*/, `/p2p/${other.id}`);
  const joiner = lab.peer({ allow: [], invitation: { addresses: [address], invite: INVITE } });
  await expect(joiner.start()).rejects.toMatchObject({ code: "DIAL_FAILED" });
  expect(admission.presented).toEqual([]);
});

test("a peer that is let in to present an invite gets no further", async () => {
  const host = await lab.start({ allow: [], admission: new OneInvite() });
  const intruder = await lab.intruder();
  const connection = await intruder.node.dial(multiaddr(host.address), { force: true });
  const stream = await connection.newStream(PROTOCOL).catch(() => undefined);
  if (stream !== undefined) {
    await new Promise((resolve) => {
      stream.addEventListener("close", resolve);
      if (stream.status !== "open") resolve(undefined);
    });
  }
  await expect.poll(() => connection.status).not.toBe("open");
  expect(host.links.size).toBe(0);
  expect(noticed(host, "NOT_ADMITTED")).toContain(intruder.id);
});

test.each([
  ["nothing", Uint8Array.of(0)],
  ["too much", new Uint8Array(1000).fill(255)],
  ["another invite", Uint8Array.of(3, 1, 2, 3)],
])("presenting %s ends the connection", async (_name, bytes) => {
  const admission = new OneInvite();
  const host = await lab.start({ allow: [], admission });
  const intruder = await lab.intruder();
  expect(await present(intruder, host.address, bytes)).not.toBe(1);
  await expect.poll(() => intruder.node.getConnections().length).toBe(0);
  expect(admission.admitted.size).toBe(0);
});

test("unknown peers are refused while there is no open invite, and beyond a few at a time", async () => {
  const admission = new OneInvite();
  const host = await lab.start({ allow: [], admission });
  admission.isClosed = true;
  const shut = await lab.intruder();
  const before = await shut.node.dial(multiaddr(host.address), { force: true }).catch(() => undefined);
  await expect.poll(() => before?.status ?? "closed").not.toBe("open");
  admission.isClosed = false;
  const intruders = await Promise.all(Array.from({ length: 20 }, () => lab.intruder()));
  await Promise.all(
    intruders.map(({ node }) => node.dial(multiaddr(host.address), { force: true }).catch(() => undefined)),
  );
  await expect
    .poll(() => intruders.filter(({ node }) => node.getConnections().length > 0).length)
    .toBeLessThanOrEqual(16);
});
