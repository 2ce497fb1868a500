import { gCounter } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import type { Replica } from "./replica.ts";
import { Grove } from "./nodes.test-support.ts";

interface Subject {
  readonly node: Node;
  readonly peer: Node;
  readonly replica: Replica<number, { increment(amount: number): void }, unknown>;
  readonly other: Subject["replica"];
}

interface Kind {
  readonly watch: (subject: Subject, fn: () => void) => () => void;
  /** Makes it so that watchers are told; resolves when they were. */
  readonly cause: (subject: Subject) => Promise<void>;
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

const deletion = async ({ node, replica }: Subject): Promise<void> => {
  await node.delete(replica.id);
  (await node.open(replica.id, gCounter, { recreate: true })).close();
  await turn();
};

const kinds: { readonly [name: string]: Kind } = {
  "replica.subscribe": {
    watch: ({ replica }, fn) => replica.subscribe(fn),
    cause: async ({ replica }) => {
      replica.mutate((c) => c.increment(1));
      await turn();
    },
  },
  "replica.onDelete": { watch: ({ replica }, fn) => replica.onDelete(fn), cause: deletion },
  "replica.onBroadcast": {
    watch: ({ replica }, fn) => replica.onBroadcast(fn),
    cause: async ({ other }) => {
      other.broadcast(new Uint8Array(1));
      await turn();
    },
  },
  "presence.subscribe": {
    watch: ({ replica }, fn) => replica.presence.subscribe(fn),
    cause: async ({ replica }) => {
      replica.presence.set(Math.random());
      await turn();
    },
  },
  "node.onChange": {
    watch: ({ node }, fn) => node.onChange(fn),
    cause: async ({ replica }) => {
      replica.mutate((c) => c.increment(1));
      await turn();
    },
  },
  "node.onPeer": {
    watch: ({ node }, fn) => node.onPeer((event) => event === "leave" && fn()),
    cause: async ({ node, peer }) => {
      await node.disconnect(peer.id);
      await turn();
      await node.connect(`memory:/${peer.id}`);
    },
  },
};

describe.each(Object.entries(kinds))("%s", (_name, { watch, cause }) => {
  async function planted(grove: Grove): Promise<Subject> {
    const [peer, node] = [await grove.start("b"), await grove.start("a", ["b"])];
    const [other, replica] = [await peer.open("g", gCounter), await node.open("g", gCounter)];
    await replica.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    await turn();
    return { node, peer, replica, other };
  }

  it("calls nobody who has stopped, though it was on its way or another stopped it", async () => {
    await using grove = new Grove();
    const subject = await planted(grove);
    const told: string[] = [];
    const stops: (() => void)[] = [];
    stops.push(
      watch(subject, () => {
        told.push("first");
        for (const stop of stops) stop();
      }),
      watch(subject, () => void told.push("second")),
    );
    await cause(subject);
    expect(told).toEqual(["first"]);
    const late = watch(subject, () => void told.push("late"));
    const caused = cause(subject);
    late();
    // Some are told at once.
    const known = told.length;
    await caused;
    expect(told).toHaveLength(known);
  });

  it("calls one that was given twice twice, and each stop is for one", async () => {
    await using grove = new Grove();
    const subject = await planted(grove);
    let calls = 0;
    const fn = (): void => void calls++;
    const stop = watch(subject, fn);
    const again = watch(subject, fn);
    await cause(subject);
    expect(calls).toBe(2);
    stop();
    stop();
    await cause(subject);
    expect(calls).toBe(3);
    again();
    const last = watch(subject, fn);
    stop();
    again();
    await cause(subject);
    expect(calls).toBe(4);
    last();
    await cause(subject);
    expect(calls).toBe(4);
  });

  it("does not call one for what was told when it came", async () => {
    await using grove = new Grove();
    const subject = await planted(grove);
    let calls = 0;
    let stop = (): void => {};
    const anew = (): void => {
      stop = watch(subject, () => {
        stop();
        if (++calls < 100) anew();
      });
    };
    anew();
    await cause(subject);
    expect(calls).toBe(1);
    stop();
  });
});

it("an unsubscribed deletion is not told though it has happened", async () => {
  await using grove = new Grove();
  const node = await grove.start("a");
  const replica = await node.open("g", gCounter);
  await replica.mutate((c) => c.increment(1));
  let isTold = false;
  const stop = replica.onDelete(() => (isTold = true));
  const deleted = node.delete("g");
  stop();
  await deleted;
  await turn();
  expect(isTold).toBe(false);
});
