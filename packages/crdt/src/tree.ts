import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW, KIND_MAP, KIND_TREE } from "./kernel/kinds.ts";
import { mapAt } from "./kernel/map-view.ts";
import { endPosition, isPosition, positionBetween } from "./kernel/position.ts";
import { liveDots, reveal, writeChildRegister } from "./kernel/register.ts";
import { removeKey } from "./kernel/removal.ts";
import { type MapStore, type RegisterStore, type Store, inChain, isAlive } from "./kernel/store.ts";
import type { Transaction } from "./type.ts";
import type { Storable, Value } from "./value.ts";

/** A node as it is read, with its children in the order in which they were placed. */
export interface TreeNode<T> {
  readonly id: string;
  readonly value: T | undefined;
  readonly children: readonly TreeNode<T>[];
}

/** A node to be made, with all under it. */
export interface NewTreeNode<T> {
  readonly id: string;
  readonly value: T;
  readonly children?: readonly NewTreeNode<T>[];
}

/** Reads a tree. Each call but `has`, `get` and `size` looks at all nodes: for many questions take `value()` once. */
export interface TreeView<T> {
  has(id: string): boolean;
  get(id: string): T | undefined;
  readonly size: number;
  /** The parent's id; `undefined` for a node at the top and for one that is not there. */
  parent(id: string): string | undefined;
  /** The ids of a node's children in order; of those at the top without an id. */
  children(id?: string): readonly string[];
  /** All nodes as plain data: the value of the tree. */
  toJSON(): readonly TreeNode<T>[];
}

/** Changes a tree. */
export interface TreeMutator<T> extends TreeView<T> {
  /**
   * Makes a node under `parent`, at the top by default, and there before the child `before`, at the end by default.
   * Throws `RangeError` if the id is taken, the parent not there, or `before` no child of it.
   */
  create(id: string, value: T, parent?: string, before?: string): void;
  /** Writes a node's value: the last write wins. Throws `RangeError` for an id that is not there. */
  set(id: string, value: T): void;
  /**
   * Moves a node, and all under it, to a place as `create` has it. Throws `RangeError` for a move under itself, and as
   * `create` does.
   */
  move(id: string, parent?: string, before?: string): void;
  /** Removes a node and all seen under it; returns whether it was there. */
  delete(id: string): boolean;
  /** Makes nodes of plain data, with all under them, at the end of the children of `parent`. Throws as `create`. */
  fromJSON(nodes: readonly NewTreeNode<T>[], parent?: string): void;
}

const PARENT = "p";
const VALUE = "v";
const TOP = "";

/** Where a node was put, and where it was before: there it goes back when the move would close a cycle. */
interface Placement {
  readonly id: string;
  readonly parent: string;
  readonly from: string;
  readonly position: Position;
  readonly time: number;
  readonly rank: number;
}

/** Between siblings, or the number of a node that its event placed at the end. */
type Position = string | number;

/** A node's place after all moves. */
interface Place {
  readonly parent: string;
  readonly position: Position;
  readonly time: number;
}

class TreeCursor<T> implements TreeMutator<T> {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get size(): number {
    return nodes(mapAt(this.#cursor)).size;
  }

  has(id: string): boolean {
    return nodeAt(mapAt(this.#cursor), id) !== undefined;
  }

  get(id: string): T | undefined {
    return valueOf(nodeAt(mapAt(this.#cursor), id)) as T | undefined;
  }

  parent(id: string): string | undefined {
    return places(mapAt(this.#cursor)).get(id)?.parent || undefined;
  }

  children(id: string = TOP): readonly string[] {
    return childrenOf(places(mapAt(this.#cursor)), id).map(([child]) => child);
  }

  toJSON(): readonly TreeNode<T>[] {
    return readTree(mapAt(this.#cursor)) as readonly TreeNode<T>[];
  }

  create(id: string, value: T, parent: string = TOP, before?: string): void {
    const transaction = this.#cursor.begin();
    if (id === TOP || this.has(id)) throw new RangeError(`the id ${JSON.stringify(id)} is taken`);
    this.#assertNode(parent);
    const position = before === undefined ? undefined : positionBefore(this.#places(), parent, before, id);
    // The value first: it may be refused.
    writeChildRegister(this.#node(id), VALUE, KIND_LWW, value);
    this.#place(transaction, id, parent, TOP, position);
  }

  set(id: string, value: T): void {
    this.#cursor.begin();
    this.#assertNode(id || undefined);
    writeChildRegister(this.#node(id), VALUE, KIND_LWW, value);
  }

  move(id: string, parent: string = TOP, before?: string): void {
    const transaction = this.#cursor.begin();
    this.#assertNode(id || undefined);
    this.#assertNode(parent);
    const found = this.#places();
    for (let at: string | undefined = parent; at !== undefined && at !== TOP; at = found.get(at)?.parent) {
      if (at === id) throw new RangeError(`the node ${JSON.stringify(id)} cannot move under itself`);
    }
    const position = before === undefined ? undefined : positionBefore(found, parent, before, id);
    this.#place(transaction, id, parent, found.get(id)?.parent ?? TOP, position);
  }

  delete(id: string): boolean {
    this.#cursor.begin();
    if (!this.has(id)) return false;
    const found = this.#places();
    const isUnder = (node: string): boolean => {
      for (let at: string | undefined = node; at !== undefined && at !== TOP; at = found.get(at)?.parent)
        if (at === id) return true;
      return false;
    };
    for (const node of [...found.keys()].filter(isUnder)) removeKey(this.#cursor, node);
    return true;
  }

  fromJSON(nodes: readonly NewTreeNode<T>[], parent: string = TOP): void {
    // Without recursion, as in `readTree`; parents come before their children.
    const pending = nodes.map((node) => ({ node, under: parent })).toReversed();
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { id, value, children = [] } = next.node;
      this.create(id, value, next.under);
      for (const child of children.toReversed()) pending.push({ node: child, under: id });
    }
  }

  #places(): ReadonlyMap<string, Place> {
    return places(mapAt(this.#cursor));
  }

  /** Writes a placement: between siblings, or at the end by the event's time and the node's number in the event. */
  #place(transaction: Transaction, id: string, parent: string, from: string, between?: Between): void {
    const index = this.#cursor.open.nextPlace();
    const { actor, seq } = transaction;
    const position = between && positionBetween(between.previous, between.next, `${actor} ${seq} ${index}`);
    writeChildRegister(this.#node(id), PARENT, KIND_LWW, [parent, from, position ?? index]);
  }

  #node(id: string): Cursor {
    return this.#cursor.child(id, KIND_MAP);
  }

  #assertNode(id: string | undefined): void {
    if (id !== TOP && (id === undefined || !this.has(id)))
      throw new RangeError(`no node has the id ${JSON.stringify(id)}`);
  }
}

function nodeAt(map: MapStore | undefined, id: string): MapStore | undefined {
  // The top is no node, though a peer that lies may have written one of that id: it would stand under itself.
  if (id === TOP) return undefined;
  const node = inChain(map?.children.get(id), KIND_MAP) as MapStore | undefined;
  return node !== undefined && isAlive(node) ? node : undefined;
}

function nodes(map: MapStore | undefined): ReadonlyMap<string, MapStore> {
  const found = new Map<string, MapStore>();
  for (const id of map?.children.keys() ?? []) {
    const node = nodeAt(map, id);
    if (node !== undefined) found.set(id, node);
  }
  return found;
}

function valueOf(node: MapStore | undefined): Value | undefined {
  const register = inChain(node?.children.get(VALUE), KIND_LWW) as RegisterStore | undefined;
  return reveal(register?.value);
}

/** The positions between which a node goes. */
interface Between {
  readonly previous: string;
  readonly next: string;
}

function positionBefore(found: ReadonlyMap<string, Place>, parent: string, before: string, id: string): Between {
  const siblings = childrenOf(found, parent).filter(([sibling]) => sibling !== id);
  const index = siblings.findIndex(([sibling]) => sibling === before);
  const next = siblings[index]?.[1];
  if (next === undefined) throw new RangeError(`${JSON.stringify(before)} is no child of ${JSON.stringify(parent)}`);
  const previous = siblings[index - 1]?.[1];
  return { previous: previous === undefined ? "" : positionText(previous), next: positionText(next) };
}

/** The children of a node, in order. */
function childrenOf(found: ReadonlyMap<string, Place>, id: string): [string, Place][] {
  return [...found].filter(([, place]) => place.parent === id).sort(inOrder);
}

function inOrder([a, left]: readonly [string, Place], [b, right]: readonly [string, Place]): number {
  if (typeof left.position === "number" && typeof right.position === "number") {
    return left.time - right.time || left.position - right.position || (a < b ? -1 : 1);
  }
  const [one, other] = [positionText(left), positionText(right)];
  if (one !== other) return one < other ? -1 : 1;
  return a < b ? -1 : 1;
}

function positionText({ position, time }: Place): string {
  return typeof position === "string" ? position : endPosition(time, position);
}

function placement(id: string, node: MapStore): Placement {
  const register = inChain(node.children.get(PARENT), KIND_LWW) as RegisterStore | undefined;
  const [top] = register === undefined ? [] : liveDots(register);
  const value: unknown = top?.value;
  const [parent, from, position]: unknown[] = Array.isArray(value) ? value : [];
  const [time, rank] = [top?.time ?? 0, top?.seq ?? 0];
  const index = typeof position === "number" && Number.isSafeInteger(position) && position >= 0 ? position : 0;
  return {
    id,
    parent: typeof parent === "string" ? parent : TOP,
    from: typeof from === "string" ? from : TOP,
    position: isPosition(position) ? position : index,
    time,
    rank,
  };
}

/**
 * Where each node is. Placements count from the oldest to the latest; one that would close a cycle with those
 * before it is passed over, and the node stays where it came from, or goes to the top. So of two concurrent moves that
 * together make a cycle, the later has no effect, as in Kleppmann, Mulligan, Gomes, Beresford: "A Highly-Available Move
 * Operation for Replicated Trees", 2021; but no log of moves is kept, only the latest of each node.
 */
function places(map: MapStore | undefined): ReadonlyMap<string, Place> {
  const found = new Map<string, Place>();
  const all = nodes(map);
  // Nodes with something under them so far: no other node can be above its own parent.
  const parents = new Set<string>();
  const isFree = (id: string, parent: string): boolean => {
    if (parent !== TOP && (parent === id || !all.has(parent))) return false;
    if (!parents.has(id)) return true;
    for (let at: string | undefined = parent; at !== undefined && at !== TOP; at = found.get(at)?.parent) {
      if (at === id) return false;
    }
    return true;
  };
  const order = [...all].map(([id, node]) => placement(id, node));
  order.sort((a, b) => a.time - b.time || a.rank - b.rank || (a.id < b.id ? -1 : 1));
  for (const { id, parent, from, position, time } of order) {
    const under = [parent, from].find((above) => isFree(id, above)) ?? TOP;
    found.set(id, { parent: under, position, time });
    parents.add(under);
  }
  return found;
}

// Without recursion: a chain of nodes may be longer than the stack is deep.
function readTree(store: Store | undefined): readonly TreeNode<unknown>[] {
  const map = store as MapStore | undefined;
  const found = [...places(map)].sort(inOrder);
  const lists = new Map<string, TreeNode<unknown>[]>([[TOP, []]]);
  const made = found.map(([id]) => {
    const children: TreeNode<unknown>[] = [];
    lists.set(id, children);
    return { id, value: valueOf(nodeAt(map, id)), children };
  });
  for (const [index, [, { parent }]] of found.entries()) lists.get(parent)?.push(made[index] as TreeNode<unknown>);
  for (const node of made) Object.freeze(node);
  for (const list of lists.values()) Object.freeze(list);
  return lists.get(TOP) ?? [];
}

const dynamic: NestableType<readonly TreeNode<unknown>[], TreeMutator<unknown>, TreeView<unknown>> = kernelType(
  "tree",
  { kind: KIND_TREE, bind: (cursor) => new TreeCursor(cursor), read: readTree },
  ["create", "set", "move", "delete", "get", "has", "parent", "children", "fromJSON", "toJSON"],
);

/**
 * A tree whose nodes have ids, values and an order among their siblings, and can be moved without ever closing a cycle.
 * What is placed at the end of one parent's children concurrently stands in the order of time. A node that was moved or made
 * under one that was removed meanwhile goes to where it came from, or to the top.
 */
export function tree<T extends Value | Storable<T> = Value>(): NestableType<
  readonly TreeNode<T>[],
  TreeMutator<T>,
  TreeView<T>
> {
  return dynamic as unknown as NestableType<readonly TreeNode<T>[], TreeMutator<T>, TreeView<T>>;
}
