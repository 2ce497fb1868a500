import type { PeerId } from "../transport.ts";
import type { CoreContext } from "./context.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Member, Members } from "./messages.ts";
import type { Peer } from "./peer.ts";

/** While a node has fewer links, it dials every member that it hears of: clusters up to this size become full meshes. */
const LINKS_WANTED = 8;
/** Links wanted to peers interested in each own domain, however many there are in all. */
const LINKS_PER_DOMAIN_WANTED = 3;
/** Peers told of at a time, and addresses and domains told of each: a message stays within a few tens of KB. */
const MEMBERS_MAX = 64;
const ADDRESSES_MAX = 8;
const DOMAINS_MAX = 16;

export interface PeerExchangeOptions {
  readonly self: PeerId;
  readonly domains: readonly string[] | undefined;
  /** A number below 1. */
  random(): number;
  /** Somebody worth a link may be reached there. */
  discovered(addresses: readonly string[]): void;
}

/**
 * Peers tell each other whom they are linked to, so that a node that knows one member finds the others: at the first
 * hello, when somebody new comes, and now and then, because a message may be lost. Who hears of a member dials it while
 * it has few links, in all or to those interested in a domain of its own. Whether it may is for the transport to say.
 */
export class PeerExchange {
  readonly #core: CoreContext;
  readonly #options: PeerExchangeOptions;

  constructor(core: CoreContext, options: PeerExchangeOptions) {
    this.#core = core;
    this.#options = options;
  }

  /** Introduces a peer that has just said hello to the others, and the others to it. */
  greet(peer: Peer): void {
    this.tell(peer);
    for (const other of this.#core.peers.values()) if (other !== peer) post(other, memberOf(peer, other));
  }

  /** Tells a peer whom else there is. */
  tell(peer: Peer): void {
    const others = [...this.#core.peers.values()].filter((other) => other !== peer);
    // A part of many, from a random place on, so that everybody has a turn.
    const start = others.length > MEMBERS_MAX ? Math.floor(this.#options.random() * others.length) : 0;
    const turn = [...others.slice(start), ...others.slice(0, start)].slice(0, MEMBERS_MAX);
    post(peer, ...turn.map((other) => memberOf(other, peer)));
  }

  onMembers({ members }: Members): void {
    for (const { peer, addresses, domains } of members.slice(0, MEMBERS_MAX)) {
      if (peer === this.#options.self || this.#core.peers.has(peer) || !this.#wants(domains)) continue;
      // A peer speaks for where itself is reached, and nobody for another: the address must name it.
      const own = addresses.filter((address) => address.endsWith(`/${peer}`));
      if (own.length > 0) this.#options.discovered(own.slice(0, ADDRESSES_MAX));
    }
  }

  #wants(shared: readonly string[]): boolean {
    const { peers } = this.#core;
    if (peers.size < LINKS_WANTED) return true;
    return shared.some((domain) => {
      if (!this.#core.isInterestedIn(domain)) return false;
      const linked = [...peers.values()].filter((peer) => peer.isInterestedIn(domain));
      return linked.length < LINKS_PER_DOMAIN_WANTED;
    });
  }
}

function post(peer: Peer, ...members: readonly (Member | undefined)[]): void {
  const known = members.filter((member) => member !== undefined);
  if (peer.hello === undefined || known.length === 0) return;
  peer.post(encodeMessage({ kind: "members", members: known }));
}

/** What there is to tell `receiver` of `peer`: nothing when they share no domain, or nobody could dial it. */
function memberOf(peer: Peer, receiver: Peer): Member | undefined {
  const { hello, link } = peer;
  if (hello === undefined || link.addresses.length === 0) return undefined;
  const shared = sharedDomains(hello.domains, receiver.hello?.domains);
  if (shared?.length === 0) return undefined;
  const domains = (shared ?? []).slice(0, DOMAINS_MAX);
  return { peer: peer.id, addresses: link.addresses.slice(0, ADDRESSES_MAX), domains };
}

/** Undefined stands for all domains. */
function sharedDomains(
  some: readonly string[] | undefined,
  others: readonly string[] | undefined,
): readonly string[] | undefined {
  if (some === undefined || others === undefined) return some ?? others;
  return some.filter((domain) => others.includes(domain));
}
