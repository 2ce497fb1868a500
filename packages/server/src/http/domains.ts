import { type GroupId, domainOf } from "@coppice/storage";

/** A configured domain, as the server shows it. */
export interface GatewayDomain {
  readonly name: string;
  /** The type of groups that are created without one. */
  readonly type?: string | undefined;
  /** The name of its backend. */
  readonly storage?: string | undefined;
  readonly durability?: "snapshot" | "log" | "sync" | undefined;
  /** Undefined: only when needed. */
  readonly snapshotIntervalMs?: number | undefined;
  readonly inMemory?: boolean | undefined;
  /** Undefined: only when asked for, or not in memory at all. */
  readonly autoSaveMs?: number | undefined;
  /** Whether the node is interested in it. Default true. */
  readonly isReplicated?: boolean | undefined;
}

/** The configured domains by name, and how all others are kept, as far as that is known. */
export class DomainRegistry {
  readonly #domains: ReadonlyMap<string, GatewayDomain>;
  readonly #describe: (name: string) => GatewayDomain;

  constructor(domains: readonly GatewayDomain[], describe: (name: string) => GatewayDomain) {
    this.#domains = new Map(domains.map((domain) => [domain.name, domain]));
    this.#describe = describe;
  }

  /** How a domain is kept, configured or not. */
  get(name: string): GatewayDomain {
    return this.#domains.get(name) ?? this.#describe(name);
  }

  has(name: string): boolean {
    return this.#domains.has(name);
  }

  get all(): readonly GatewayDomain[] {
    return [...this.#domains.values()];
  }

  /** The type of a new group for which none was given, if its domain has one. */
  typeOf(id: GroupId): string | undefined {
    return this.#domains.get(domainOf(id))?.type;
  }
}
