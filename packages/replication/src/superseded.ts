import type { AnyCrdtType } from "@coppice/crdt";
import type { GroupId, GroupStorage, SupersededState } from "@coppice/storage";

/** A state that was moved aside: its epoch was superseded while it held own writes that no peer is known to have. */
export interface SupersededGroup {
  readonly id: GroupId;
  readonly type: string;
  readonly epoch: number;
  /** Events in it, of all actors. */
  readonly events: number;
  /** Bytes of the state. */
  readonly bytes: number;
  /** When it was moved aside, in Unix milliseconds. */
  readonly keptAt: number;
}

/** A superseded state with its content. */
export interface SupersededContent extends SupersededGroup {
  /** The complete state, as `CrdtType.encode` made it. */
  readonly body: Uint8Array;
  /** The value; undefined when this node has no code of the type. */
  readonly value: unknown;
}

export async function listSuperseded(storage: GroupStorage, signal?: AbortSignal): Promise<SupersededGroup[]> {
  const found: SupersededGroup[] = [];
  const options = signal === undefined ? {} : { signal };
  for await (const page of storage.listSuperseded(options)) found.push(...page.map(describe));
  return found;
}

export async function readSuperseded(
  storage: GroupStorage,
  id: GroupId,
  epoch: number,
  typeOf: (name: string) => AnyCrdtType | undefined,
): Promise<SupersededContent | undefined> {
  for await (const page of storage.listSuperseded({ id })) {
    const state = page.find((candidate) => candidate.epoch === epoch);
    if (state === undefined) continue;
    const type = typeOf(state.type);
    const value = type === undefined ? undefined : type.value(type.decode(state.body));
    return { ...describe(state), body: state.body, value };
  }
  return undefined;
}

function describe({ id, type, epoch, vector, keptAt, body }: SupersededState): SupersededGroup {
  return { id, type, epoch, events: vector.total(), bytes: body.length, keptAt };
}
