import { type AnyCrdtType, gCounter, jsonMap, lwwMap, lwwRegister, orMap, orSet, struct, tree } from "@coppice/crdt";
import { TestReplica, createReplicas } from "@coppice/crdt/testing";
import type { YjsMutator } from "@coppice/crdt/yjs";
import { internal } from "../internal.ts";
import { type Target, accept, hex, isNamed, must, mustBeBounded, mustBePlain, mustEqual } from "../target.ts";

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

function parse(input: Uint8Array): unknown {
  return accept(() => JSON.parse(Buffer.from(input).toString("utf8")) as unknown, isNamed("SyntaxError"));
}

interface WireJson {
  toJson(value: unknown): unknown;
  fromJson(json: unknown): unknown;
}

/** Values as HTTP carries them. */
async function jsonTarget(): Promise<Target> {
  const { fromJson, toJson } = await internal<WireJson>("server/dist/http/wire-json.js");
  const values = [1, "a", null, [1, { a: [] }], { $object: { $date: 1 } }, { $bigint: "-12" }, { $bytes: "AQI=" }];
  const more = [{ $number: "-0" }, { $date: "2026-01-31T00:00:00.000Z" }, { $undefined: true }, { __proto__x: {} }];
  return {
    name: "wire-json",
    seeds: [...values, ...more].map((value) => bytesOf(JSON.stringify(value))),
    run(input) {
      const json = parse(input);
      if (json === undefined) return false;
      const value = accept(() => fromJson(json), isNamed("ServerError"));
      if (value === undefined) return false;
      mustBePlain(value);
      mustBeBounded(value, input);
      const text = JSON.stringify(toJson(value));
      must(JSON.stringify(toJson(fromJson(JSON.parse(text)))) === text, `${text} is not written as it was read`);
      return true;
    },
  };
}

interface Operations {
  readonly TypeRegistry: new (types: readonly AnyCrdtType[]) => object;
  compileOperations(registry: object, type: AnyCrdtType, operations: unknown): (mutator: unknown) => unknown[];
}

/** Operations by name, as an HTTP client sends them: performed as one event, or refused without a trace. */
async function operationsTarget(): Promise<Target> {
  const { TypeRegistry, compileOperations } = await internal<Operations>("server/dist/http/operations.js");
  const root = struct({ words: orMap(gCounter), notes: lwwMap(), tags: orSet(), title: lwwRegister(), doc: jsonMap });
  const types: readonly AnyCrdtType[] = [root, gCounter, orMap(gCounter), lwwMap(), orSet(), lwwRegister(), tree()];
  const registry = new TypeRegistry(types);
  const isTyped = isNamed("RequestFailure", "ServerError", "CrdtError", "ReplicationError");
  const seeds = [
    [
      {
        path: [
          { key: "words", type: "ormap" },
          { key: "a", type: "gcounter" },
        ],
        op: "increment",
        args: [2],
      },
    ],
    [{ path: [{ key: "notes", type: "lwwmap" }], op: "set", args: ["k", { $date: "2026-01-31T00:00:00.000Z" }] }],
    [
      { path: ["words"], op: "clear" },
      { path: ["words"], op: "delete", args: ["a"] },
    ],
    [{ path: [{ key: "tags", type: "orset" }], op: "add", args: ["x"] }],
    [{ path: [{ key: "doc", type: "jsonmap" }], op: "set", args: [["a", "b"], 1] }],
    [{ path: [{ key: "title", type: "lww" }], op: "set", args: [{ $bigint: "5" }] }],
  ];
  return {
    name: "operations",
    seeds: seeds.map((seed) => bytesOf(JSON.stringify(seed))),
    run(input) {
      const json = parse(input);
      if (!isOperations(json)) return false;
      const [replica] = createReplicas<unknown, unknown, unknown, unknown>(root, 1);
      if (!(replica instanceof TestReplica)) return false;
      const before = replica.canonical();
      const isDone = accept(() => {
        const perform = compileOperations(registry, root, json);
        replica.mutate(perform);
        return true;
      }, isTyped);
      if (isDone === undefined) must(replica.canonical() === before, "a refused batch left something behind");
      replica.reload();
      mustBePlain(replica.value());
      return isDone === true;
    },
  };
}

/** What the schema of the request lets through. */
function isOperations(json: unknown): boolean {
  const isStep = (step: unknown): boolean => {
    if (typeof step === "string") return true;
    const { key, type } = (step ?? {}) as { key?: unknown; type?: unknown };
    return typeof key === "string" && typeof type === "string";
  };
  const isOperation = (operation: unknown): boolean => {
    if (typeof operation !== "object" || operation === null) return false;
    const { path = [], op, args = [] } = operation as { path?: unknown; op?: unknown; args?: unknown };
    return Array.isArray(path) && path.every(isStep) && typeof op === "string" && Array.isArray(args);
  };
  return Array.isArray(json) && json.every(isOperation);
}

interface Wire {
  readonly FrameReader: new () => {
    push(chunk: Uint8Array): void;
    next(): { type: number; body: Uint8Array } | undefined;
  };
  encodeFrames(frames: readonly { type: number; body: Uint8Array }[], bytes: number): Uint8Array;
  encodeHello(incarnation: string, addresses: readonly string[]): Uint8Array;
  decodeHello(body: Uint8Array): { incarnation: string | undefined; addresses: readonly string[] };
  decodeDecision(body: Uint8Array): number;
}

/** A stream of libp2p: cut into chunks anywhere, it says the same. */
async function streamTarget(): Promise<Target> {
  const { FrameReader, decodeDecision, decodeHello, encodeFrames, encodeHello } = await internal<Wire>(
    "replication/dist/libp2p/wire.js",
  );
  const hello = encodeHello("00112233445566ff", ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"]);
  const frame = (type: number, body: Uint8Array): Uint8Array => encodeFrames([{ type, body }], 4 + body.length);
  const isTyped = isNamed("WireError");
  const read = (input: Uint8Array, chunkBytes: number): string => {
    const reader = new FrameReader();
    let told = "";
    const isWhole = accept(() => {
      for (let at = 0; at < input.length; at += chunkBytes) {
        reader.push(input.subarray(at, at + chunkBytes));
        for (let next = reader.next(); next !== undefined; next = reader.next())
          told += `${next.type} ${hex(next.body)} `;
      }
      return true;
    }, isTyped);
    return isWhole === undefined ? `${told}!` : told;
  };
  return {
    name: "stream",
    seeds: [
      frame(1, hello),
      Buffer.concat([
        frame(1, hello),
        frame(2, new Uint8Array(4)),
        frame(4, bytesOf("data")),
        frame(7, Uint8Array.of(1)),
      ]),
      Buffer.concat([frame(5, new Uint8Array(0)), frame(6, new Uint8Array(0)), frame(3, Uint8Array.of(2))]),
      hello,
    ],
    run(input) {
      const whole = read(input, input.length + 1);
      must(read(input, 1) === whole, "a stream says something else byte by byte");
      must(read(input, 7) === whole, "a stream says something else in chunks");
      const hello_ = accept(() => decodeHello(input), isTyped);
      if (hello_ !== undefined) mustBeBounded(hello_, input);
      accept(() => decodeDecision(input), isTyped);
      return hello_ !== undefined || !whole.endsWith("!");
    },
  };
}

interface YjsWire {
  wire(...parts: readonly (number | Uint8Array | string)[]): Uint8Array;
  readAwareness(bytes: Uint8Array): readonly { client: number; clock: number; state: string }[];
  awarenessMessage(entries: readonly object[]): Uint8Array;
}

interface Room {
  close(): void;
  join(client: object): void;
  receive(client: object, message: Uint8Array): void;
}

/** An editor on y-websocket: what it sends becomes events that say all of it, or is refused. */
async function editorTarget(): Promise<Target> {
  const { awarenessMessage, wire } = await internal<YjsWire>("server/dist/http/yjs-wire.js");
  const { YjsRoom } = await internal<{
    readonly YjsRoom: new (yjs: object, replica: object, members: () => []) => Room;
  }>("server/dist/http/yjs-room.js");
  const Y = await import("yjs");
  const { checkYjsUpdate, yjsDoc } = await import("@coppice/crdt/yjs");
  const type = yjsDoc({ text: "text", map: "map" });
  const doc = new Y.Doc();
  doc.getText("text").insert(0, "hello");
  doc.getMap("map").set("a", 1);
  const update = Y.encodeStateAsUpdate(doc);
  const vector = Y.encodeStateVector(doc);
  // Yjs throws errors of no class of its own; the route turns them into one that closes the connection.
  const isRefused = (error: unknown): boolean => error instanceof Error && error.name !== "Broken";
  return {
    name: "editor",
    share: 0.2,
    seeds: [
      wire(0, 0, vector),
      wire(0, 1, update),
      wire(0, 2, update),
      awarenessMessage([{ client: 5, clock: 1, state: '{"x":1}' }]),
      awarenessMessage([{ client: 5, clock: 2, state: "null" }]),
      wire(3),
    ],
    run(input) {
      const [replica, other] = createReplicas<unknown, unknown, YjsMutator, YjsMutator>(type, 2);
      if (replica === undefined || other === undefined) return false;
      let hear: (message: Uint8Array) => void = () => undefined;
      const room = new YjsRoom(
        { ...Y, checkYjsUpdate },
        {
          mutate: (change: (mutator: YjsMutator) => unknown) => replica.mutate(change),
          read: (read: (view: YjsMutator) => unknown) => read(type.view(replica.state as never)),
          broadcast: () => true,
          onBroadcast: (heard: typeof hear) => {
            hear = heard;
          },
          close: () => undefined,
        },
        () => [],
      );
      const client = { send: () => undefined, mayWrite: () => true };
      room.join(client);
      const isTaken = accept(() => {
        room.receive(client, input);
        return true;
      }, isRefused);
      hear(input);
      room.close();
      replica.settle();
      for (const event of replica.events.values()) other.receive(event);
      must(other.canonical() === replica.canonical(), "the document has something that no event says");
      replica.reload();
      mustEqual(bytesOf(other.canonical()), bytesOf(replica.canonical()), "a document differs after a restart");
      return isTaken === true;
    },
  };
}

export function networkTargets(): Map<string, () => Promise<Target>> {
  return new Map([
    ["wire-json", jsonTarget],
    ["operations", operationsTarget],
    ["stream", streamTarget],
    ["editor", editorTarget],
  ]);
}
