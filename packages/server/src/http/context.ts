import { type GroupId, formatGroupId, parseGroupId } from "@coppice/storage";
import { type GroupStatus, type Node, type Replica, ReplicationError } from "@coppice/replication";
import type { DomainRegistry } from "./domains.ts";
import type { HttpLimits } from "./limits.ts";
import type { TypeRegistry } from "./operations.ts";
import type { Places } from "./places.ts";

/** A replica of whatever type. */
export type AnyReplica = Replica<unknown, unknown, unknown>;

/** What every family of routes gets. */
export interface RouteContext {
  readonly node: Node;
  readonly types: TypeRegistry;
  readonly domains: DomainRegistry;
  /** Fires when the server closes: what waits must end. */
  readonly closing: AbortSignal;
  readonly limits: HttpLimits;
  /** Those who watch or edit. */
  readonly watchers: Places;
  /** Longest wait for an acknowledgement or a connection. */
  readonly waitMsMax: number;
}

/** A group that lives here, by the text form of its id. Fails with `INVALID_GROUP_ID`, `UNKNOWN_GROUP`, `GROUP_DELETED`. */
export function findGroup(context: RouteContext, text: string): GroupStatus {
  const id = parseGroupId(text);
  const status = context.node.group(id);
  if (status === undefined) throw unknownGroup(id);
  if (status.phase === "deleted") throw new ReplicationError("GROUP_DELETED", `the group ${text} was deleted`);
  return status;
}

/** Runs a wait that ends when the server closes or the time is over: then with `TIMEOUT`. */
export async function withDeadline<R>(
  context: RouteContext,
  waitMs: number,
  wait: (signal: AbortSignal) => PromiseLike<R>,
): Promise<R> {
  // `AbortSignal.any` would tie every request's signal to the server's for as long as the server lives.
  const controller = new AbortController();
  const limitMs = Math.min(waitMs, context.waitMsMax);
  const timer = setTimeout(() => {
    controller.abort(new ReplicationError("TIMEOUT", `it took more than ${limitMs} ms`));
  }, limitMs);
  const onClosing = (): void => controller.abort(context.closing.reason);
  context.closing.addEventListener("abort", onClosing, { once: true });
  try {
    return await wait(controller.signal);
  } finally {
    clearTimeout(timer);
    context.closing.removeEventListener("abort", onClosing);
  }
}

/** The error for a group that is not stored here. */
export function unknownGroup(id: GroupId): ReplicationError {
  return new ReplicationError("UNKNOWN_GROUP", `no group is called ${formatGroupId(id)}`);
}

/**
 * Opens a group of this node. The caller closes the replica. Fails with `UNKNOWN_TYPE` for a group that this node only
 * stores and relays, `GROUP_DELETED`, `GROUP_DEGRADED`, and `TIMEOUT`.
 */
export async function openReplica(context: RouteContext, group: GroupStatus): Promise<AnyReplica> {
  const type = context.types.find(group.type);
  if (type === undefined) {
    throw new ReplicationError("UNKNOWN_TYPE", `this node has no type ${group.type}, it only stores and relays it`);
  }
  return await withDeadline(context, context.waitMsMax, (signal) => context.node.open(group.id, type, { signal }));
}

/** Runs `use` on a replica of the group and lets go of it afterwards. */
export async function withReplica<R>(
  context: RouteContext,
  group: GroupStatus,
  use: (replica: AnyReplica) => R | Promise<R>,
): Promise<R> {
  const replica = await openReplica(context, group);
  try {
    return await use(replica);
  } finally {
    replica.close();
  }
}
