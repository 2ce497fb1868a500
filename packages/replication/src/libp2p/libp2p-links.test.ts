import { afterEach, describe, expect, it } from "vitest";
import { linked, TestPeer } from "../testing/test-peer.ts";
import { Lab, LOOPBACK, noticed, pause } from "./lab.test-support.ts";
import { libp2pTransport } from "./libp2p-transport.ts";

const lab = new Lab();
afterEach(() => lab.close());

const withoutId = (address: string): string => address.replace(/\/p2p\/.*/, "");

describe("options", () => {
  it.each([
    ["localhost:4001", "does not parse"],
    ["", "names no TCP port"],
    ["/ip4/127.0.0.1", "names no TCP port"],
    ["/ip4/127.0.0.1/tcp/99999", "does not parse"],
    ["/ip4/127.0.0.1/udp/4001/quic-v1", "/udp is not supported"],
    ["/ip4/127.0.0.1/tcp/4001/p2p/nonsense", "does not parse"],
    [`/dns4/${"x".repeat(500)}/tcp/1`, "does not parse"],
  ])("refuse the address %j at once: %s", async (address, problem) => {
    for (const options of [{ listen: [address] }, { peers: [address] }, { announce: [address] }]) {
      expect(() => libp2pTransport(options)).toThrow(
        expect.objectContaining({ code: "BAD_ADDRESS", message: expect.stringContaining(JSON.stringify(address)) }),
      );
      expect(() => libp2pTransport(options)).toThrow(problem);
      expect(() => libp2pTransport(options)).toThrow(/one looks like \/ip4/);
    }
    const a = await lab.start();
    await expect(a.transport.connect(address)).rejects.toMatchObject({ code: "BAD_ADDRESS" });
  });

  it("refuse a listen address with a peer, a bad peer id, and silly numbers", async () => {
    const a = await lab.start();
    expect(() => libp2pTransport({ listen: [a.address] })).toThrow(/names no peer/);
    expect(() => libp2pTransport({ allow: ["bob"] })).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    expect(() => libp2pTransport({ heartbeatMs: 0 })).toThrow(/heartbeatMs/);
    expect(() => libp2pTransport({ connectionsMax: Number.NaN })).toThrow(/connectionsMax/);
  });

  it("fail start with BAD_ADDRESS where it cannot listen, and leave nothing behind", async () => {
    const a = await lab.start();
    const b = lab.peer({ listen: [LOOPBACK, withoutId(a.address)] });
    await expect(b.start()).rejects.toMatchObject({
      code: "BAD_ADDRESS",
      message: expect.stringMatching(
        /: listen EADDRINUSE: [^\n]+; choose another port, 0 takes any free one$/,
      ) as string,
    });
    expect(b.transport.addresses()).toEqual([]);
    await b.transport.stop();
  });

  it("with port 0 give real ports, and the peer's id", async () => {
    const a = await lab.start({ listen: [LOOPBACK, `${LOOPBACK}/ws`] });
    expect(a.transport.addresses()).toEqual([
      expect.stringMatching(new RegExp(`^/ip4/127.0.0.1/tcp/[1-9][0-9]*/p2p/${a.id}$`)),
      expect.stringMatching(new RegExp(`^/ip4/127.0.0.1/tcp/[1-9][0-9]*/ws/p2p/${a.id}$`)),
    ]);
  });

  it("with announce tell others those addresses", async () => {
    const a = await lab.start({ announce: ["/dns4/a.example/tcp/4001"] });
    const b = await lab.start();
    await a.transport.connect(b.address);
    await linked(a, b);
    expect(b.linkTo(a).addresses).toEqual([`/dns4/a.example/tcp/4001/p2p/${a.id}`]);
  });
});

describe("frames", () => {
  it("are followed, in the same turn, by word that those which came together were told", async () => {
    const [a, b] = [await lab.start(), await lab.start()];
    const link = await a.transport.connect(b.address);
    await linked(a, b);
    for (let frame = 1; frame <= 3; frame++) a.transport.send(link, Uint8Array.of(frame));
    await b.until("three frames", () => b.frames.length === 3);
    expect(b.deliveries.at(-1)).toBe(3);
    expect(b.deliveries.length).toBeLessThanOrEqual(3);
  });
});

describe("an identity", () => {
  it("that is unreadable stops the start", async () => {
    const secrets = new Map([["identity", Uint8Array.of(1, 2, 3)]]);
    await expect(lab.start({}, secrets)).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(secrets.get("identity")).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe("addresses", () => {
  it("of WebSockets, names and none but the port all lead to a link", async () => {
    const b = await lab.start({ listen: [LOOPBACK, `${LOOPBACK}/ws`] });
    const [plain = "", webSocket = ""] = b.transport.addresses();
    for (const address of [webSocket, withoutId(plain), plain.replace("/ip4/127.0.0.1", "/dns4/localhost")]) {
      const a = await lab.start({ listen: [] });
      await a.transport.connect(address);
      await linked(a, b);
      a.transport.send(a.linkTo(b), new Uint8Array(200_000));
      await b.until("frame", () => b.frames.at(-1)?.link.peer === a.id);
    }
  });

  it("of oneself are refused, and skipped among peers", async () => {
    const secrets = new Map<string, Uint8Array>();
    const first = await lab.start({}, secrets);
    await expect(first.transport.connect(first.address)).rejects.toMatchObject({ code: "BAD_ADDRESS" });
    await expect(first.transport.connect(withoutId(first.address))).rejects.toMatchObject({ code: "DIAL_FAILED" });
    const { address } = first;
    await first.transport.stop();
    const again = await lab.start({ peers: [address] }, secrets);
    await pause(50);
    expect(again.told).toEqual([]);
  });

  it("where another peer answers fail", async () => {
    const [a, b, c] = [await lab.start(), await lab.start(), await lab.start()];
    const wrong = `${withoutId(b.address)}/p2p/${c.id}`;
    await expect(a.transport.connect(wrong)).rejects.toMatchObject({
      code: "DIAL_FAILED",
      message: expect.stringContaining("another peer answers there"),
    });
    expect([a.count("up"), b.count("up")]).toEqual([0, 0]);
  });
});

describe("admission", () => {
  /** The code with which a dial ends, or "linked". */
  const dial = (from: TestPeer, to: TestPeer): Promise<unknown> =>
    from.transport.connect(to.address).then(
      () => "linked",
      (error: { code?: string }) => error.code,
    );

  it("by default is for the peers that are named", async () => {
    const friend = await lab.start();
    const stranger = await lab.start();
    const transport = libp2pTransport({ listen: [LOOPBACK], peers: [friend.address] });
    const keeper = await new TestPeer(transport, new Map(), "00000000000000aa").start();
    try {
      await linked(keeper, friend);
      await friend.transport.disconnect(keeper.id);
      expect(await dial(friend, keeper)).toBe("linked");
      expect(await dial(stranger, keeper)).toBe("NOT_ADMITTED");
      expect(noticed(keeper, "NOT_ADMITTED")).toContain(stranger.id);
      expect(noticed(stranger, "NOT_ADMITTED")).toContain(stranger.id);
    } finally {
      await keeper.transport.stop();
    }
  });

  it("without peers and list is for nobody", async () => {
    const nobody = new TestPeer(libp2pTransport({ listen: [LOOPBACK] }), new Map(), "00000000000000aa");
    await nobody.start();
    try {
      expect(await dial(await lab.start(), nobody)).toBe("NOT_ADMITTED");
    } finally {
      await nobody.transport.stop();
    }
  });

  it("by a list is for its ids, and for whoever is dialled", async () => {
    const [friend, dialled, stranger] = [await lab.start(), await lab.start(), await lab.start()];
    const host = await lab.start({ allow: [friend.id] });
    expect(await dial(friend, host)).toBe("linked");
    expect(await dial(stranger, host)).toBe("NOT_ADMITTED");
    expect(await dial(dialled, host)).toBe("NOT_ADMITTED");
    await host.transport.connect(withoutId(dialled.address));
    await host.transport.disconnect(dialled.id);
    await dialled.until("link down", () => dialled.links.size === 0);
    expect(await dial(dialled, host)).toBe("linked");
  });

  it("is not blamed for a host that has gone", async () => {
    const [a, b] = [await lab.start(), await lab.start()];
    const { address } = b;
    expect(await dial(a, b)).toBe("linked");
    await a.transport.disconnect(b.id);
    await b.transport.stop();
    await expect(a.transport.connect(address)).rejects.toMatchObject({ code: "DIAL_FAILED" });
  });

  it("comes to a peer that is dialled again and again", async () => {
    const secrets = new Map<string, Uint8Array>();
    const strict = await lab.start({ allow: [] }, secrets);
    const { address } = strict;
    const a = await lab.start({ peers: [address] });
    await a.until("refusal", () => noticed(a, "NOT_ADMITTED") !== undefined);
    await strict.transport.stop();
    const open = await lab.start({ allow: [a.id], listen: [withoutId(address)] }, secrets);
    await linked(a, open);
  });
});

describe("two nodes that dial each other at once", () => {
  it("get exactly one link each time, without flapping", async () => {
    for (let round = 0; round < 8; round++) {
      const a = await lab.start();
      const b = await lab.start();
      const dials: Promise<unknown>[] = [];
      for (let dial = 0; dial < 3; dial++) {
        dials.push(a.transport.connect(b.address), b.transport.connect(withoutId(a.address)));
        if (round % 2 === 1) await pause(round);
      }
      await Promise.all(dials);
      await linked(a, b);
      await pause(30);
      expect([a.count("up"), a.count("down"), b.count("up"), b.count("down")]).toEqual([1, 0, 1, 0]);
      a.transport.send(a.linkTo(b), Uint8Array.of(1));
      b.transport.send(b.linkTo(a), Uint8Array.of(2));
      await Promise.all([a, b].map((end) => end.until("frame", () => end.frames.length === 1)));
    }
  });
});

describe("a process that restarts", () => {
  it("comes back under both roles, again and again", async () => {
    const secrets = new Map<string, Uint8Array>();
    const a = await lab.start();
    let b = await lab.start({ peers: [a.address] }, secrets);
    await linked(a, b);
    const { address } = b;
    await a.transport.connect(address);
    for (let restart = 0; restart < 4; restart++) {
      await b.transport.stop();
      b = await lab.start({ peers: [a.address], listen: [withoutId(address)] }, secrets);
      await linked(a, b);
      b.transport.send(b.linkTo(a), Uint8Array.of(restart));
      await a.until("frame", () => a.frames.length === restart + 1);
    }
    await pause(400);
    expect([a.count("up"), a.count("down")]).toEqual([5, 4]);
    expect(noticed(a, "DUPLICATE_IDENTITY")).toBeUndefined();
  });
});

describe("two live processes under one identity", () => {
  it.each(["the smaller", "the larger"])("are noticed by both and by their peer, which has %s id", async (which) => {
    const secrets = new Map<string, Uint8Array>();
    const first = await lab.start({}, secrets);
    let peer: TestPeer;
    do peer = await lab.start();
    while (peer.id < first.id !== (which === "the smaller"));
    await first.transport.connect(peer.address);
    await linked(first, peer);
    const second = await lab.start({}, secrets);
    await second.transport.connect(peer.address);
    await linked(second, peer);
    await first.until("superseded", () =>
      first.told.some((told) => told.kind === "down" && told.reason === "superseded"),
    );
    const told = (): boolean => [first, peer].every((end) => noticed(end, "DUPLICATE_IDENTITY") !== undefined);
    await peer.until("notice", told);
    await pause(1_500);
    // The newest process keeps its link; the older one's redials are refused.
    expect(second.count("down")).toBe(0);
    expect(peer.linkTo(second).incarnation).toBe(second.incarnation);
    expect(peer.count("up")).toBe(2);
  });
});

describe("a busy link", () => {
  it("carries floods both ways at once over slow readers", async () => {
    const [a, b] = [await lab.start(), await lab.start()];
    await a.transport.connect(b.address);
    await linked(a, b);
    const count = 1_500;
    const frame = new Uint8Array(20_000);
    const flood = async (from: TestPeer, to: TestPeer): Promise<void> => {
      const link = from.linkTo(to);
      from.onFrame = () => {
        if (from.frames.length % 50 === 0) {
          from.transport.pause(link);
          setTimeout(() => from.transport.resume(link), 2);
        }
        return true;
      };
      for (let sent = 0; sent < count; sent++) {
        const drains = from.drains.length;
        if (!from.transport.send(link, frame)) await from.until("drained", () => from.drains.length > drains);
      }
    };
    await Promise.all([flood(a, b), flood(b, a)]);
    await Promise.all([a, b].map((end) => end.until("all frames", () => end.frames.length === count)));
    expect([a.count("down"), b.count("down")]).toEqual([0, 0]);
  });

  it("stays when it is handed at once many times what it carries", async () => {
    const [a, b] = [await lab.start(), await lab.start()];
    await a.transport.connect(b.address);
    await linked(a, b);
    const count = 80;
    const frame = new Uint8Array(250_000);
    const link = b.linkTo(a);
    b.onFrame = () => {
      // Windows open one by one.
      b.transport.pause(link);
      setTimeout(() => b.transport.resume(link), 5);
      return true;
    };
    for (let sent = 0; sent < count; sent++) a.transport.send(a.linkTo(b), frame);
    await b.until("all frames", () => b.frames.length === count);
    expect([a.count("down"), b.count("down")]).toEqual([0, 0]);
  });
});
