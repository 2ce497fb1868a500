/**
 * Yjs documents as a CRDT type. `yjs` is an optional peer dependency.
 *
 * | item  | bytes                                                       |
 * |-------|-------------------------------------------------------------|
 * | delta | one or more updates of Yjs (version 1), each as bytes       |
 * | state | 0x01, the document as one update of Yjs, to the end         |
 *
 * Every local transaction of the document becomes an own event, those included that Yjs makes itself while it applies
 * remote rich text (it removes redundant formatting): left out, replicas end with unequal deletions.
 */
import * as Y from "yjs";
import { Reader, Writer, malformed } from "./codec.ts";
import { CrdtError } from "./error.ts";
import type { CrdtType, Stamp, Transaction } from "./type.ts";
import { readShared } from "./yjs-undeclared.ts";

const VERSION = 1;
const REMOTE = Symbol("remote");

/** The kinds of shared types that a document can declare. */
export type YjsShared = "text" | "map" | "array" | "xml";

/** The declared shared types of a document, by name. */
export interface YjsShape {
  readonly [name: string]: YjsShared;
}

/** What a document reads as: each declared shared type as plain data. */
export type YjsValue<Shape extends YjsShape> = {
  readonly [Name in keyof Shape]: Shape[Name] extends "map"
    ? { readonly [key: string]: unknown }
    : Shape[Name] extends "array"
      ? readonly unknown[]
      : string;
};

/** Reads a document: do not write to it in `read`. */
export interface YjsView {
  /** The document. It is the same object as long as the group is loaded, so an editor may be bound to it. */
  readonly doc: Y.Doc;
}

/** Changes a document: through `doc`, as with Yjs alone. */
export type YjsMutator = YjsView;

/**
 * The document of a group, and what of its changes has no event yet. A change in `mutate` goes into its event. One made
 * outside (by an editor bound to the document, or by Yjs itself) is kept here until the shell settles it.
 */
class YjsState {
  readonly doc: Y.Doc;
  readonly outbox: Uint8Array[] = [];
  /** The shared types that what is in the outbox has changed. */
  readonly unsettled: Set<string> = new Set();
  transaction: Transaction | undefined;
  wake: (() => void) | undefined;
  /** While a remote update is applied. */
  applying: { readonly touched: Set<string> | undefined } | undefined;

  constructor() {
    this.doc = new Y.Doc();
    this.doc.clientID = freshClientId();
    this.doc.on("update", (update: Uint8Array, origin: unknown, _doc: Y.Doc, change: Y.Transaction) => {
      if (origin === REMOTE) this.#touch(change, this.applying?.touched);
      else this.#onLocal(update, change);
    });
  }

  // Observers that write while a remote update is applied find no open transaction: theirs is a local one, with an update
  // of its own.
  #onLocal(update: Uint8Array, change: Y.Transaction): void {
    const { transaction } = this;
    if (transaction === undefined || !isOpen(transaction)) {
      this.outbox.push(update);
      this.#touch(change, this.unsettled);
      if (this.applying === undefined) this.wake?.();
      return;
    }
    transaction.delta.bytes(update);
    this.#touch(change, transaction.touched);
    // Yjs cannot take a change back: it is published after all, in an event of its own. The last change comes first.
    transaction.onRollback(() => this.outbox.unshift(update));
  }

  #touch(change: Y.Transaction, touched: Set<string> | undefined): void {
    if (touched === undefined) return;
    const changed: ReadonlyMap<unknown, unknown> = change.changedParentTypes;
    for (const [name, type] of this.doc.share) if (changed.has(type)) touched.add(name);
  }
}

/**
 * A random identifier of 53 bits, for this load of the document alone: with one used before, Yjs diverges. Its own have
 * 32 bits, which collide too soon when each load takes a new one; so this is made of two of its own.
 */
function freshClientId(): number {
  const high = new Y.Doc().clientID % 2 ** 21;
  return high * 2 ** 32 + new Y.Doc().clientID;
}

function isOpen(transaction: Transaction): boolean {
  try {
    transaction.begin();
    return true;
  } catch {
    return false;
  }
}

interface Range {
  readonly clock: number;
  readonly len: number;
}

/** Ranges sorted and joined where they touch. */
function normalised(ranges: readonly Range[]): Range[] {
  const joined: { clock: number; len: number }[] = [];
  for (const { clock, len } of [...ranges].sort((a, b) => a.clock - b.clock)) {
    const last = joined.at(-1);
    if (last !== undefined && clock <= last.clock + last.len) last.len = Math.max(last.len, clock + len - last.clock);
    else joined.push({ clock, len });
  }
  return joined;
}

/**
 * Throws `MALFORMED` for an update that Yjs cannot read or that lacks something it builds on: the shell delivers in
 * causal order, so nothing may be missing. `known` is the state vector, which is moved on.
 */
function inspect(update: Uint8Array, known: Map<number, number>): void {
  const { structs, ds } = decode(update);
  for (const struct of structs) {
    const { client, clock } = struct.id;
    // Yjs takes what is nothing, but cannot read the document that then holds it.
    if (struct.length < 1) throw malformed("an update of Yjs with an item of no length");
    if (!Number.isSafeInteger(client) || !Number.isSafeInteger(clock + struct.length)) throw malformed("not a clock");
    if (struct instanceof Y.Skip || clock > (known.get(client) ?? 0)) throw malformed("an update of Yjs has a gap");
    known.set(client, Math.max(known.get(client) ?? 0, clock + struct.length));
  }
  const isKnown = (id: { client: number; clock: number } | null): boolean =>
    id === null || id.clock < (known.get(id.client) ?? 0);
  for (const struct of structs) {
    if (!(struct instanceof Y.Item)) continue;
    const parent = struct.parent instanceof Y.ID ? struct.parent : null;
    if (!isKnown(struct.origin) || !isKnown(struct.rightOrigin) || !isKnown(parent)) {
      throw malformed("an update of Yjs builds on what is not there");
    }
  }
  for (const [client, ranges] of ds.clients) {
    for (const { clock, len } of ranges) {
      if (len < 1) throw malformed("an update of Yjs that deletes nothing");
      if (clock + len > (known.get(client) ?? 0)) throw malformed("an update of Yjs deletes what is not there");
    }
  }
}

/**
 * Throws `MALFORMED` for an update that the other replicas of a document would refuse: one that Yjs cannot read, or that
 * builds on what is not in `doc`. For updates that come from elsewhere, before `Y.applyUpdate` in `mutate`.
 */
export function checkYjsUpdate(doc: Y.Doc, update: Uint8Array): void {
  inspect(update, Y.decodeStateVector(Y.encodeStateVector(doc)));
}

function decode(update: Uint8Array): ReturnType<typeof Y.decodeUpdate> {
  try {
    return Y.decodeUpdate(update);
  } catch (cause) {
    throw malformed("not an update of Yjs", cause);
  }
}

/** Applies updates of others, all of them or none. */
function applyUpdates(state: YjsState, updates: readonly Uint8Array[], touched: Set<string> | undefined): void {
  const { doc } = state;
  const known = Y.decodeStateVector(Y.encodeStateVector(doc));
  for (const update of updates) inspect(update, known);
  state.applying = { touched };
  try {
    for (const update of updates) Y.applyUpdate(doc, update, REMOTE);
  } catch (cause) {
    throw malformed("Yjs refuses an update", cause);
  } finally {
    state.applying = undefined;
  }
}

function readDelta(delta: Uint8Array): Uint8Array[] {
  const reader = new Reader(delta);
  const updates: Uint8Array[] = [];
  while (reader.left > 0) updates.push(reader.bytes().slice());
  if (updates.length === 0) throw malformed("an event without updates");
  return updates;
}

function readBody(body: Uint8Array): Uint8Array {
  const reader = new Reader(body);
  const version = reader.byte();
  if (version !== VERSION) throw new CrdtError("UNSUPPORTED_VERSION", `state version ${version} is not known here`);
  return reader.raw(reader.left).slice();
}

function shared(doc: Y.Doc, name: string, kind: YjsShared): Y.Text | Y.Map<unknown> | Y.Array<unknown> | Y.XmlFragment {
  switch (kind) {
    case "text":
      return doc.getText(name);
    case "map":
      return doc.getMap(name);
    case "array":
      return doc.getArray(name);
    case "xml":
      return doc.getXmlFragment(name);
  }
}

function freeze(value: unknown): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  for (const item of Object.values(value)) freeze(item);
  return Object.freeze(value);
}

/** State vector and deletions, ordered: two documents that agree on both are equal. */
function writeCanonical({ doc }: YjsState, writer: Writer): void {
  const clocks = [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b);
  writer.uint(clocks.length);
  for (const [client, clock] of clocks) {
    writer.uint(client);
    writer.uint(clock);
  }
  const deletes = [...Y.createDeleteSetFromStructStore(doc.store).clients].sort(([a], [b]) => a - b);
  writer.uint(deletes.length);
  for (const [client, ranges] of deletes) {
    const joined = normalised(ranges);
    writer.uint(client);
    writer.uint(joined.length);
    for (const { clock, len } of joined) {
      writer.uint(clock);
      writer.uint(len);
    }
  }
}

/**
 * A Yjs document. In `mutate`, change `doc` as with Yjs alone; an editor bound to `doc` may also write at any time, and
 * its changes become events by themselves. Yjs cannot take changes back: when a `mutate` callback throws, what it did
 * before is published all the same, and the error is passed on.
 *
 * @param shape the shared types that `value()` shows; without it all that hold something, as what their content tells
 */
export function yjsDoc<const Shape extends YjsShape>(
  shape?: Shape,
): CrdtType<YjsState, YjsValue<Shape>, YjsMutator, YjsView> {
  const names = Object.entries(shape ?? {});
  const create = (): YjsState => {
    const state = new YjsState();
    for (const [name, kind] of names) shared(state.doc, name, kind);
    return state;
  };
  return {
    name: "yjs",
    create,
    mutator: (state, transaction) => {
      state.transaction = transaction;
      return { doc: state.doc };
    },
    view: ({ doc }) => ({ doc }),
    apply: (state, delta, _at: Stamp, touched) => applyUpdates(state, readDelta(delta), touched),
    join: (state, body, _ours, _theirs, touched) => applyUpdates(state, [readBody(body)], touched),
    encode: ({ doc }) => {
      const writer = new Writer();
      writer.byte(VERSION);
      writer.raw(Y.encodeStateAsUpdate(doc));
      return writer.take();
    },
    decode: (body) => {
      const state = create();
      // As if it were a local change: else Yjs would tidy up the document, and a restart make events.
      state.doc.transact((change) => {
        applyUpdates(state, [readBody(body)], undefined);
        change.local = true;
      }, REMOTE);
      return state;
    },
    value: ({ doc }) =>
      freeze(
        shape === undefined
          ? readShared(doc)
          : Object.fromEntries(names.map(([name, kind]) => [name, shared(doc, name, kind).toJSON()])),
      ) as YjsValue<Shape>,
    canonical: writeCanonical,
    settle: (state, transaction) => {
      for (const update of state.outbox.splice(0)) transaction.delta.bytes(update);
      for (const name of state.unsettled) transaction.touched?.add(name);
      state.unsettled.clear();
    },
    watch: (state, wake) => {
      state.wake = wake;
      if (state.outbox.length > 0) wake();
      return () => {
        if (state.wake === wake) state.wake = undefined;
      };
    },
  };
}
