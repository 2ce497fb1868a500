import type { Connection, Stream } from "@libp2p/interface";
import { abortQuietly } from "./abort-quietly.ts";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { ReplicationError } from "../error.ts";
import type { Link, PeerId } from "../transport.ts";
import { peerOf, withoutPeer } from "./address.ts";
import { DuplicateLinkError } from "./link-table.ts";

const REDIAL_MS_FIRST = 200;
/** Quick at first, because most lost peers are just restarting. */
const REDIAL_MS_MAX = 5_000;
const REDIAL_MS_MAX_LATER = 30_000;
const QUICK_FAILURES = 16;
/** Failures before a link that still count after it, until it has settled. */
const FAILURES_MAX_AFTER_LINK = 3;
/** For a dial with its handshake. */
const DIAL_MS_MAX = 15_000;
/** Failures in a row after which a hint is forgotten: one that never led anywhere, and one that did. */
const HINT_FAILURES_MAX = 10;
const HINT_FAILURES_MAX_ONCE_LINKED = 40;
/** Hints followed at a time. */
const HINTS_MAX = 256;
/** A link that lasted less does not reset the pauses between redials. */
const SETTLED_MS = 5_000;

export interface DiallerOptions {
  readonly self: PeerId;
  /** Makes an encrypted connection of its own for each call. */
  dial(address: Multiaddr, signal: AbortSignal): Promise<Connection>;
  openStream(connection: Connection, signal: AbortSignal): Promise<Stream>;
  /** Resolves when the stream is the link. */
  open(stream: Stream, connection: Connection): Promise<Link>;
  linkTo(peer: PeerId): Link | undefined;
  /** Whether that address has got as far as encryption since the last call for it. */
  wasEncrypted(address: string): boolean;
  /** The peer has been dialled on purpose and may dial back. */
  admit(peer: PeerId): void;
  notice(code: string, message: string, peer: PeerId | undefined): void;
}

interface Waiter {
  resolve(link: Link): void;
  reject(error: unknown): void;
}

/** Who wants an address dialled: the options or a call of `connect`, or just a hint. */
type Origin = "wanted" | "hint";

interface Target {
  readonly address: Multiaddr;
  origin: Origin;
  /** Known from the address, or from the first connection. */
  peer: PeerId | undefined;
  readonly waiters: Set<Waiter>;
  /** Dialled whenever there is no link: configured, or reached once. */
  kept: boolean;
  attempt: AbortController | undefined;
  timer: NodeJS.Timeout | undefined;
  /** Attempts and lost links, which make the pauses longer. */
  failures: number;
  /** Dials that failed since one led to a link, and whether one ever did. */
  missed: number;
  hasLed: boolean;
  linkedAtMs: number;
  noticed: string | undefined;
}

/** Dials addresses: for good those that are wanted, for a while those that were only hinted at. */
export class Dialler {
  readonly #options: DiallerOptions;
  readonly #targets = new Map<string, Target>();
  #stopped = false;

  constructor(options: DiallerOptions) {
    this.#options = options;
  }

  /** Dials an address from now on, whatever comes of the first attempt. */
  keep(address: Multiaddr): void {
    const target = this.#target(address, "wanted");
    target.kept = true;
    this.#attempt(target);
  }

  /** Dials an address of a peer without a link for a while, without notices. */
  follow(address: Multiaddr): void {
    const peer = peerOf(address);
    if (peer === undefined || this.#options.linkTo(peer) !== undefined) return;
    if (this.#targets.has(address.toString()) || this.#targets.size >= HINTS_MAX) return;
    const target = this.#target(address, "hint");
    target.kept = true;
    this.#attempt(target);
  }

  /** See `Transport.connect`. */
  connect(address: Multiaddr, signal: AbortSignal | undefined): Promise<Link> {
    const target = this.#target(address, "wanted");
    const standing = this.#standing(target);
    if (standing !== undefined) {
      target.kept = true;
      return Promise.resolve(standing);
    }
    return new Promise<Link>((resolve, reject) => {
      const forget = (): void => {
        target.waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        resolve: (link) => (forget(), resolve(link)),
        reject: (error) => (forget(), reject(error)),
      };
      const onAbort = (): void => {
        waiter.reject(signal?.reason);
        if (!target.kept && target.waiters.size === 0) this.#drop(target);
      };
      signal?.addEventListener("abort", onAbort);
      target.waiters.add(waiter);
      this.#attempt(target);
    });
  }

  onUp(link: Link): void {
    const addresses = new Set(link.addresses);
    let hasMoved = false;
    for (const target of this.#targets.values()) {
      if (target.peer !== link.peer) continue;
      const isStale =
        target.missed > 0 && addresses.size > 0 && !addresses.has(`${withoutPeer(target.address)}/p2p/${link.peer}`);
      if (isStale) hasMoved = true;
      if (isStale && target.origin === "hint") this.#drop(target);
      else this.#reached(target, link);
    }
    // The peer came back elsewhere: should this link be lost, it is dialled there.
    if (hasMoved) for (const address of link.addresses) this.#target(multiaddr(address), "hint").kept = true;
  }

  onDown(link: Link): void {
    for (const target of this.#targets.values()) {
      if (target.peer !== link.peer || !target.kept) continue;
      if (performance.now() - target.linkedAtMs > SETTLED_MS) target.failures = 0;
      this.#redial(target);
    }
  }

  /** Forgets every address of a peer. */
  disconnect(peer: PeerId): void {
    for (const target of this.#targets.values()) {
      if (target.peer !== peer) continue;
      this.#drop(target);
      rejectAll(target, new ReplicationError("DIAL_FAILED", `disconnected from ${peer} while dialling it`));
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const target of this.#targets.values()) {
      this.#drop(target);
      rejectAll(target, new ReplicationError("CLOSED", "the transport has stopped"));
    }
  }

  #target(address: Multiaddr, origin: Origin): Target {
    const key = address.toString();
    const known = this.#targets.get(key);
    if (known !== undefined) {
      if (origin === "wanted") known.origin = origin;
      return known;
    }
    const target: Target = {
      address,
      origin,
      peer: peerOf(address),
      waiters: new Set(),
      kept: false,
      attempt: undefined,
      timer: undefined,
      failures: 0,
      missed: 0,
      hasLed: false,
      linkedAtMs: 0,
      noticed: undefined,
    };
    this.#targets.set(key, target);
    return target;
  }

  #drop(target: Target): void {
    this.#targets.delete(target.address.toString());
    clearTimeout(target.timer);
    target.attempt?.abort(new Error("the address is not wanted any more"));
  }

  #isWanted(target: Target): boolean {
    return !this.#stopped && this.#targets.get(target.address.toString()) === target;
  }

  #standing(target: Target): Link | undefined {
    return target.peer === undefined ? undefined : this.#options.linkTo(target.peer);
  }

  #attempt(target: Target): void {
    if (!this.#isWanted(target) || target.attempt !== undefined || this.#standing(target) !== undefined) return;
    clearTimeout(target.timer);
    const attempt = new AbortController();
    target.attempt = attempt;
    // What an earlier dial has found out does not count for this one.
    this.#options.wasEncrypted(withoutPeer(target.address));
    const signal = AbortSignal.any([attempt.signal, AbortSignal.timeout(DIAL_MS_MAX)]);
    this.#dial(target, signal).then(
      (link) => {
        target.attempt = undefined;
        target.missed = 0;
        target.hasLed = true;
        // The link may have come and gone before this runs; waiters have had it then, and the redial must stand.
        if (this.#options.linkTo(link.peer) === link) this.#reached(target, link);
        else if (this.#isWanted(target)) this.#redial(target);
      },
      (error: unknown) => {
        target.attempt = undefined;
        this.#failed(target, signal.aborted ? new Error("it took too long", { cause: error }) : error, signal.aborted);
      },
    );
  }

  async #dial(target: Target, signal: AbortSignal): Promise<Link> {
    const { dial, openStream, open, admit, linkTo } = this.#options;
    const connection = await dial(target.address, signal);
    const peer = connection.remotePeer.toString();
    if (this.#isWanted(target)) {
      target.peer = peer;
      // Whoever is only heard of is admitted for another reason, which may end.
      if (target.origin === "wanted") admit(peer);
    }
    const standing = linkTo(peer);
    if (standing !== undefined || signal.aborted) {
      abortQuietly(connection, new Error("not needed"));
      if (standing !== undefined) return standing;
      signal.throwIfAborted();
    }
    const abort = (): void => abortQuietly(connection, new Error("the dial was given up", { cause: signal.reason }));
    signal.addEventListener("abort", abort);
    try {
      return await open(await openStream(connection, signal), connection);
    } catch (error) {
      if (!(error instanceof DuplicateLinkError))
        abortQuietly(connection, new Error("the dial failed", { cause: error }));
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #reached(target: Target, link: Link): void {
    // A dial that was abandoned must leave no link behind, which its own connection's abort has seen to.
    if (!this.#isWanted(target)) return;
    clearTimeout(target.timer);
    target.kept = true;
    target.noticed = undefined;
    target.failures = Math.min(target.failures, FAILURES_MAX_AFTER_LINK);
    target.linkedAtMs = performance.now();
    for (const waiter of target.waiters) waiter.resolve(link);
  }

  #failed(target: Target, error: unknown, timedOut: boolean): void {
    const peerWasReached = this.#options.wasEncrypted(withoutPeer(target.address));
    if (!this.#isWanted(target)) return;
    const standing = this.#standing(target);
    if (standing !== undefined) return this.#reached(target, standing);
    // The other side's own dial has won: its link is about to stand here too.
    if (error instanceof DuplicateLinkError && target.failures < QUICK_FAILURES) return this.#redial(target);
    target.missed++;
    const failure = this.#explain(target, error, peerWasReached && !timedOut);
    const isWorthNotice = target.origin === "wanted" || target.hasLed;
    if (isWorthNotice && target.noticed !== failure.code) {
      this.#options.notice(failure.code, failure.message, target.peer);
      target.noticed = failure.code;
    }
    if (target.kept && !isExhausted(target)) this.#redial(target);
    else this.#drop(target);
    rejectAll(target, failure);
  }

  #explain(target: Target, error: unknown, peerWasReached: boolean): ReplicationError {
    const where = target.address.toString();
    if (error instanceof ReplicationError) return error;
    const name = error instanceof Error ? error.name : "";
    if (peerWasReached && name !== "TimeoutError" && name !== "UnsupportedProtocolError") {
      const message = `${where} hung up on this node after learning its id: most likely it does not admit ${this.#options.self}; add that id to its \`allow\``;
      return new ReplicationError("NOT_ADMITTED", message, { cause: error });
    }
    let problem = error instanceof Error ? error.message : String(error);
    // All that a browser tells a page is an event.
    if (problem.includes("[object ")) problem = "the WebSocket did not open, and browsers do not tell pages why";
    // libp2p passes on no more of this error than its message.
    if (/unexpected peer/i.test(problem)) problem = "another peer answers there";
    // What answers there does not speak our way: another program, or a node of a network with another key.
    else if (name === "EncryptionFailedError" || name === "TimeoutError") {
      problem += "; is a node listening there, and do both have the same network key, or none?";
    }
    return new ReplicationError("DIAL_FAILED", `could not reach ${where}: ${problem}`, { cause: error });
  }

  #redial(target: Target): void {
    const cap = target.failures < QUICK_FAILURES ? REDIAL_MS_MAX : REDIAL_MS_MAX_LATER;
    const longest = Math.min(cap, REDIAL_MS_FIRST * 2 ** Math.min(target.failures, 12));
    target.failures++;
    clearTimeout(target.timer);
    target.timer = setTimeout(() => this.#attempt(target), longest * (0.5 + Math.random() / 2));
  }
}

function isExhausted({ origin, failures, hasLed }: Target): boolean {
  if (origin === "wanted") return false;
  return failures >= (hasLed ? HINT_FAILURES_MAX_ONCE_LINKED : HINT_FAILURES_MAX);
}

function rejectAll(target: Target, error: Error): void {
  for (const waiter of target.waiters) waiter.reject(error);
}
