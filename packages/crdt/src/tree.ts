import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW, KIND_MAP, KIND_TREE } from "./kernel/kinds.ts";
import { mapAt } from "./kernel/map-view.ts";
import { liveDots, reveal, writeChildRegister } from "./kernel/register.ts";
import { removeKey } from "./kernel/removal.ts";
import { type MapStore, type RegisterStore, type Store, inChain, isAlive } from "./kernel/store.ts";
import type { Value } from "./value.ts";

/** A node as it is read, with its children in the order of their ids. */
export interface TreeNode<T> {
  readonly id: string;
  readonly value: T | undefined;
  readonly children: readonly TreeNode<T>[];
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
}

/** Changes a tree. */
export interface TreeMutator<T> extends TreeView<T> {
  /** Makes a node under `parent`, at the top by default. Throws `RangeError` if the id is taken or no parent. */
  create(id: string, value: T, parent?: string): void;
  /** Writes a node's value: the last write wins. Throws `RangeError` for an id that is not there. */
  set(id: string, value: T): void;
  /** Moves a node, and all under it, to `parent` or to the top. Throws `RangeError` for a move under itself. */
  move(id: string, parent?: string): void;
  /** Removes a node and all seen under it; returns whether it was there. */
  delete(id: string): boolean;
}

const PARENT = "p";
const VALUE = "v";
const TOP = "";

/** Where a node was put, and where it was before: there it goes back when the move would close a cycle. */
interface Placement {
  readonly id: string;
  readonly parent: string;
  readonly from: string;
  readonly time: number;
  readonly rank: number;
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
    return parents(mapAt(this.#cursor)).get(id) || undefined;
  }

  children(id: string = TOP): readonly string[] {
    return [...parents(mapAt(this.#cursor))].flatMap(([child, parent]) => (parent === id ? [child] : [])).sort();
  }

  create(id: string, value: T, parent: string = TOP): void {
    this.#cursor.begin();
    if (id === TOP || this.has(id)) throw new RangeError(`the id ${JSON.stringify(id)} is taken`);
    this.#assertNode(parent);
    // The value first: it may be refused.
    writeChildRegister(this.#node(id), VALUE, KIND_LWW, value);
    writeChildRegister(this.#node(id), PARENT, KIND_LWW, [parent, TOP]);
  }

  set(id: string, value: T): void {
    this.#cursor.begin();
    this.#assertNode(id || undefined);
    writeChildRegister(this.#node(id), VALUE, KIND_LWW, value);
  }

  move(id: string, parent: string = TOP): void {
    this.#cursor.begin();
    this.#assertNode(id || undefined);
    this.#assertNode(parent);
    const above = parents(mapAt(this.#cursor));
    for (let at: string | undefined = parent; at !== undefined && at !== TOP; at = above.get(at)) {
      if (at === id) throw new RangeError(`the node ${JSON.stringify(id)} cannot move under itself`);
    }
    writeChildRegister(this.#node(id), PARENT, KIND_LWW, [parent, above.get(id) ?? TOP]);
  }

  delete(id: string): boolean {
    this.#cursor.begin();
    if (!this.has(id)) return false;
    const above = parents(mapAt(this.#cursor));
    const isUnder = (node: string): boolean => {
      for (let at: string | undefined = node; at !== undefined && at !== TOP; at = above.get(at))
        if (at === id) return true;
      return false;
    };
    for (const node of [...above.keys()].filter(isUnder)) removeKey(this.#cursor, node);
    return true;
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

function placement(id: string, node: MapStore): Placement {
  const register = inChain(node.children.get(PARENT), KIND_LWW) as RegisterStore | undefined;
  const [top] = register === undefined ? [] : liveDots(register);
  const value: unknown = top?.value;
  const [parent, from]: unknown[] = Array.isArray(value) ? value : [];
  return {
    id,
    parent: typeof parent === "string" ? parent : TOP,
    from: typeof from === "string" ? from : TOP,
    time: top?.time ?? 0,
    rank: top?.seq ?? 0,
  };
}

/**
 * The parent of each node. Placements count from the oldest to the latest; one that would close a cycle with those
 * before it is passed over, and the node stays where it came from, or goes to the top. So of two concurrent moves that
 * together make a cycle, the later has no effect, as in Kleppmann, Mulligan, Gomes, Beresford: "A Highly-Available Move
 * Operation for Replicated Trees", 2021; but no log of moves is kept, only the latest of each node.
 */
function parents(map: MapStore | undefined): ReadonlyMap<string, string> {
  const placed = new Map<string, string>();
  const all = nodes(map);
  const isFree = (id: string, parent: string): boolean => {
    if (parent !== TOP && !all.has(parent)) return false;
    for (let at: string | undefined = parent; at !== undefined && at !== TOP; at = placed.get(at)) {
      if (at === id) return false;
    }
    return true;
  };
  const order = [...all].map(([id, node]) => placement(id, node));
  order.sort((a, b) => a.time - b.time || a.rank - b.rank || (a.id < b.id ? -1 : 1));
  for (const { id, parent, from } of order) {
    if (isFree(id, parent)) placed.set(id, parent);
    else placed.set(id, isFree(id, from) ? from : TOP);
  }
  return placed;
}

// Without recursion: a chain of nodes may be longer than the stack is deep.
function readTree(store: Store | undefined): readonly TreeNode<unknown>[] {
  const map = store as MapStore | undefined;
  const placed = [...parents(map)].sort(([a], [b]) => (a < b ? -1 : 1));
  const lists = new Map<string, TreeNode<unknown>[]>([[TOP, []]]);
  const made = placed.map(([id]) => {
    const children: TreeNode<unknown>[] = [];
    lists.set(id, children);
    return { id, value: valueOf(nodeAt(map, id)), children };
  });
  for (const [index, [, parent]] of placed.entries()) lists.get(parent)?.push(made[index] as TreeNode<unknown>);
  for (const node of made) Object.freeze(node);
  for (const list of lists.values()) Object.freeze(list);
  return lists.get(TOP) ?? [];
}

const dynamic: NestableType<readonly TreeNode<unknown>[], TreeMutator<unknown>, TreeView<unknown>> = kernelType(
  "tree",
  { kind: KIND_TREE, bind: (cursor) => new TreeCursor(cursor), read: readTree },
  ["create", "set", "move", "delete", "get", "has", "parent", "children"],
);

/**
 * A tree whose nodes have ids and values, and can be moved without ever closing a cycle. A node that was moved or made
 * under one that was removed meanwhile goes to where it came from, or to the top.
 */
export function tree<T extends Value = Value>(): NestableType<readonly TreeNode<T>[], TreeMutator<T>, TreeView<T>> {
  return dynamic as unknown as NestableType<readonly TreeNode<T>[], TreeMutator<T>, TreeView<T>>;
}
