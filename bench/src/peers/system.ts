/** What the comparison needs of each system, in the words that all of them share. */
export type Value = number | string;

/** A map of a group or document, as this process has it. */
export interface SharedMap {
  /** One change: an event or a transaction of its own. */
  set(entries: readonly (readonly [key: string, value: Value])[]): void;
  get(key: string): Value | undefined;
  /** Calls the listener after changes, whoever made them. */
  onChange(listener: () => void): void;
}

/** One process' part of a system. */
export interface Member {
  /** Where others join it; of hosts. */
  readonly address: string;
  /** A new map; others open it by its id. */
  create(name: string): Promise<{ readonly id: string; readonly map: SharedMap }>;
  /** A map that is stored here or known to who was joined; what it holds may come later. */
  open(id: string): Promise<SharedMap>;
  /** Resolves when everything written is in the storage. */
  flush(): Promise<void>;
  /** Ends the link to who was joined; `connect` makes a new one. */
  disconnect(): Promise<void>;
  connect(): Promise<void>;
  close(): Promise<void>;
}

/** A system, each process of which hosts maps or joins a host. */
export interface System {
  /** With a directory, it stores what it has. */
  host(directory?: string): Promise<Member>;
  join(address: string): Promise<Member>;
}

const SYSTEMS = {
  coppice: async (): Promise<System> => (await import("./coppice.ts")).coppice,
  "automerge-repo": async (): Promise<System> => (await import("./automerge-repo.ts")).automergeRepo,
  hocuspocus: async (): Promise<System> => (await import("./hocuspocus.ts")).hocuspocus(false),
  "hocuspocus-tls": async (): Promise<System> => (await import("./hocuspocus.ts")).hocuspocus(true),
  "raw-stream": async (): Promise<System> => (await import("./raw-stream.ts")).rawStream,
};

export type SystemName = keyof typeof SYSTEMS;

/** Loads nothing but the system that is asked for. */
export async function load(name: SystemName): Promise<System> {
  return await SYSTEMS[name]();
}
