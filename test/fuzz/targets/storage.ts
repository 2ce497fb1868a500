import { Reader, Writer } from "@coppice/crdt";
import {
  type GroupStorage,
  createGroupStore,
  decodeGroupKey,
  encodeGroupId,
  exportGroups,
  formatGroupId,
  importGroups,
  memoryStorage,
  parseGroupId,
} from "@coppice/storage";
import { internal } from "../internal.ts";
import { type StoredRecord, records } from "../records.ts";
import { type Target, accept, isNamed, must, mustBeBounded, mustEqual } from "../target.ts";

const isTyped = isNamed("StorageError");
const PLACE = "a place";

interface Sealed {
  seal(writer: Writer, place: string): Uint8Array;
  checkSeal(bytes: Uint8Array, place: string): number;
}

/** A kind of stored record: how it is read, and written again. */
interface Kind {
  readonly name: string;
  readonly seeds: readonly StoredRecord[];
  /** What the seal begins with. */
  readonly place?: string;
  decode(bytes: Uint8Array): unknown;
  encode?(record: never): Uint8Array;
}

const sealedModule = (): Promise<Sealed> => internal<Sealed>("storage/dist/sealed.js");

/** The record under its seal: inputs are sealed anew, or none of them would be read. */
async function recordTarget({ name, seeds, place = PLACE, decode, encode }: Kind): Promise<Target> {
  const { seal } = await sealedModule();
  const sealed = (body: Uint8Array): Uint8Array => {
    const writer = new Writer(body.length + 8);
    writer.raw(body);
    return seal(writer, place);
  };
  return {
    name,
    seeds: seeds.map(({ bytes }) => bytes.subarray(0, bytes.length - 4)),
    run(input) {
      accept(() => decode(input), isTyped);
      const record = accept(() => decode(sealed(input)), isTyped);
      if (record === undefined) return false;
      mustBeBounded(record, input);
      if (encode === undefined) return true;
      const bytes = encode(record as never);
      mustEqual(encode(decode(bytes) as never), bytes, "a record is not written as it was read");
      return true;
    },
  };
}

type Slot = 0 | 1;

/** `GroupRecord` of the storage package. */
interface GroupRecord {
  readonly epoch: number;
  readonly generation: number;
  readonly seq: number;
  readonly snapshotAt: number;
  readonly snapshotBytes: number;
  readonly journalPosition: number;
  readonly degraded: boolean;
  readonly isApart: boolean;
  readonly type: string;
  readonly time: number;
  readonly digest: unknown;
  readonly vector: unknown;
  readonly frontier: unknown;
  body(): unknown;
}

interface GroupRecordModule {
  decodeRecord(bytes: Uint8Array, key: string, slot: Slot): GroupRecord;
  decodeApart(bytes: Uint8Array, key: string, place: { epoch: number; slot: Slot }): GroupRecord;
  recordSeed(key: string): number;
  draftRecord(place: { epoch: number; position: number }, meta: object, body: unknown): Uint8Array;
  finishRecord(record: Uint8Array, head: object, seed: number): void;
}

const recordModule = (): Promise<GroupRecordModule> => internal<GroupRecordModule>("storage/dist/group-record.js");

/** Everything in a record, also what is decoded only when it is asked for. */
function partsOf(record: GroupRecord) {
  const { type, time, digest, vector, frontier } = record;
  return {
    place: { epoch: record.epoch, position: record.journalPosition },
    meta: { type, time, digest, vector, frontier },
    body: record.isApart ? record.snapshotBytes : record.body(),
    head: {
      generation: record.generation,
      seq: record.seq,
      takenAt: record.snapshotAt,
      isDegraded: record.degraded,
    },
  };
}

/** The slot that a record says it is in. */
function slotOf(bytes: Uint8Array): Slot {
  return ((bytes[6] ?? 0) & 1) as Slot;
}

async function groupTarget(): Promise<Target> {
  const { decodeRecord, draftRecord, finishRecord, recordSeed } = await recordModule();
  const encode = ({ place, meta, body, head }: ReturnType<typeof partsOf>): Uint8Array => {
    const bytes = draftRecord(place, meta, body);
    finishRecord(bytes, head, recordSeed(PLACE));
    return bytes;
  };
  const decode = (bytes: Uint8Array): unknown => partsOf(decodeRecord(bytes, PLACE, slotOf(bytes)));
  return await recordTarget({ name: "group", seeds: (await records()).values.get("c") ?? [], decode, encode });
}

async function apartTarget(): Promise<Target> {
  const { decodeApart } = await recordModule();
  const decode = (bytes: Uint8Array): unknown => {
    const epoch = bytes.length < 6 ? 1 : Buffer.from(bytes.subarray(2, 6)).readUInt32LE();
    return partsOf(decodeApart(bytes, PLACE, { epoch, slot: slotOf(bytes) }));
  };
  const seeds = (await records()).values.get("s") ?? [];
  return await recordTarget({ name: "apart", seeds, place: `s${PLACE}`, decode });
}

async function nodeTarget(): Promise<Target> {
  const { decodeNode, encodeNode } = await internal<{
    decodeNode(bytes: Uint8Array, key: string): unknown;
    encodeNode(record: never, key: string): Uint8Array;
  }>("storage/dist/node-record.js");
  const seeds = (await records()).values.get("n") ?? [];
  const decode = (bytes: Uint8Array): unknown => decodeNode(bytes, PLACE);
  return await recordTarget({ name: "node-record", seeds, decode, encode: (record) => encodeNode(record, PLACE) });
}

async function journalTarget(): Promise<Target> {
  const { decodeEntry } = await internal<{ decodeEntry(bytes: Uint8Array, log: string, seq: number): unknown }>(
    "storage/dist/journal-entry.js",
  );
  const { journal } = await records();
  // Its place is made of a log and a number: "a place" is log "a" and number "place".
  const decode = (bytes: Uint8Array): unknown => decodeEntry(bytes, "a", "place" as unknown as number);
  return await recordTarget({ name: "journal", seeds: journal, decode });
}

async function sealTarget(): Promise<Target> {
  const { checkSeal } = await sealedModule();
  const { journal } = await records();
  const [first] = journal;
  return {
    name: "sealed",
    seeds: journal.map(({ bytes }) => bytes),
    run(input) {
      const end = accept(() => checkSeal(input, first?.place ?? ""), isTyped);
      must(end === undefined || end === input.length - 4, "a record has another end than it should have");
      return end !== undefined;
    },
  };
}

/** Compressed bodies: nothing comes out that the record has not said, and no bomb goes off. */
async function bodyTarget(): Promise<Target> {
  const { packBody, readPackedBody, unpackBody, writePackedBody } = await internal<{
    packBody(bytes: Uint8Array, codec: number): Promise<never> | never;
    readPackedBody(reader: Reader): { readonly length: number };
    unpackBody(body: object): Promise<Uint8Array>;
    writePackedBody(writer: Writer, body: never): void;
  }>("storage/dist/packed-body.js");
  const packed = async (bytes: Uint8Array, codec: number): Promise<Uint8Array> => {
    const writer = new Writer();
    writePackedBody(writer, await packBody(bytes, codec));
    return writer.take();
  };
  const text = Buffer.from("once upon a time ".repeat(100));
  const bomb = await packed(new Uint8Array(1 << 20), 1);
  return {
    name: "packed-body",
    seeds: [await packed(text, 0), await packed(text, 1), await packed(new Uint8Array(5000), 1), bomb],
    heap: { base: 4 << 20, perByte: 4096 },
    async run(input) {
      const body = accept(() => readPackedBody(new Reader(input)), isNamed("StorageError", "CrdtError"));
      if (body === undefined) return false;
      try {
        const bytes = await unpackBody(body);
        must(bytes.length === body.length, "a body has another length than it says");
        // Deflate makes at most about a thousand bytes of one.
        must(bytes.length <= 1100 * input.length + 100, "a body is larger than its bytes can make it");
        return true;
      } catch (error) {
        if (isTyped(error)) return false;
        throw error;
      }
    },
  };
}

function keyTarget(): Target {
  const ids = ["a", 'ü~"', ["a"], ["a", 0, -5, 2 ** 40], ["", 7].slice(1), ["x", "y/z%", -(2 ** 53 - 1)]];
  return {
    name: "group-key",
    seeds: ids.map((id) => new Uint8Array(Buffer.from(encodeGroupId(id)))),
    run(input) {
      const key = Buffer.from(input).toString("latin1");
      const id = accept(() => decodeGroupKey(key), isTyped);
      if (id === undefined) return false;
      must(encodeGroupId(id) === key, `${JSON.stringify(key)} is not the key of ${JSON.stringify(id)}`);
      return true;
    },
  };
}

function idTextTarget(): Target {
  const texts = ["a", "a/", "a/b", ":5/x", "a/:-7", "%3Ab", "a%20b/%2F"];
  return {
    name: "group-text",
    seeds: texts.map((text) => new Uint8Array(Buffer.from(text))),
    run(input) {
      const text = Buffer.from(input).toString("utf8");
      const id = accept(() => parseGroupId(text), isTyped);
      if (id === undefined) return false;
      const again = parseGroupId(formatGroupId(id));
      must(
        encodeGroupId(again) === encodeGroupId(id),
        `${JSON.stringify(text)} names another group once it was written`,
      );
      return true;
    },
  };
}

async function* chunk(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield part;
}

/** A file to import. Its blocks are sealed anew: the input is their bodies, each behind its length. */
async function importTarget(): Promise<Target> {
  const { seal } = await sealedModule();
  const { encodeHeader } = await internal<{ encodeHeader(): Uint8Array }>("storage/dist/export-format.js");
  const stream = (input: Uint8Array): Uint8Array[] => {
    const blocks: Uint8Array[] = [encodeHeader()];
    const reader = new Reader(input);
    accept(() => {
      while (reader.left > 0) {
        const writer = new Writer();
        writer.raw(reader.bytes());
        const block = seal(writer, `export ${blocks.length - 1}`);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(block.length);
        blocks.push(new Uint8Array(Buffer.concat([length, block])));
      }
    }, isNamed("CrdtError"));
    return blocks;
  };
  return {
    name: "import",
    share: 0.2,
    seeds: [await exported()],
    heap: { base: 8 << 20, perByte: 8192 },
    steps: { base: 400_000, perByte: 20_000 },
    async run(input) {
      const storage = createGroupStore(memoryStorage(), { compression: "none" });
      await storage.open();
      try {
        await importGroups(storage, chunk(...stream(input)), { skipExisting: true });
        await readAll(storage);
        return true;
      } catch (error) {
        if (!isTyped(error)) throw error;
        // What came before the damage stays, and can be read.
        await readAll(storage);
        return false;
      } finally {
        await storage.close();
      }
    },
  };
}

async function readAll(storage: GroupStorage): Promise<void> {
  for await (const rows of storage.listGroups({ deleted: true })) for (const { id } of rows) await storage.load(id);
}

/** An export of a small store, as the bodies of its blocks. */
async function exported(): Promise<Uint8Array> {
  const { values, journal } = await records();
  const storage = createGroupStore(memoryStorage(), { compression: "none" });
  await storage.open();
  const { decodeRecord } = await recordModule();
  for (const { place, bytes } of values.get("c") ?? []) {
    if (!place.endsWith("0")) continue;
    const key = place.slice(1, -1);
    const { meta, place: at } = partsOf(decodeRecord(bytes, key, 0));
    const group = { ...meta, epoch: at.epoch, id: decodeGroupKey(key) } as never as { id: string; epoch: number };
    const [entry] = journal;
    if (group.epoch % 2 === 0) await storage.commit({ deletions: [group as never] });
    else {
      const snapshot = { ...group, journalPosition: 0, body: entry?.bytes ?? new Uint8Array(1) };
      const record = { id: group.id, epoch: group.epoch, position: 0, count: 1, bytes: Uint8Array.of(1, 2, 3) };
      await storage.commit({ created: [group as never], records: [record], snapshots: [snapshot as never] });
    }
  }
  const writer = new Writer();
  let isHeader = true;
  for await (const bytes of exportGroups(storage)) {
    if (!isHeader) writer.bytes(bytes.subarray(4, bytes.length - 4));
    isHeader = false;
  }
  await storage.close();
  return writer.take();
}

export function storageTargets(): Map<string, () => Target | Promise<Target>> {
  return new Map<string, () => Target | Promise<Target>>([
    ["group", groupTarget],
    ["apart", apartTarget],
    ["journal", journalTarget],
    ["node-record", nodeTarget],
    ["sealed", sealTarget],
    ["packed-body", bodyTarget],
    ["group-key", keyTarget],
    ["group-text", idTextTarget],
    ["import", importTarget],
  ]);
}
