import type { Admission } from "@coppice/replication/libp2p";
import { randomBytes } from "node:crypto";
import { hashOf, isSameHash } from "../auth/token-text.ts";
import { ServerError } from "../error.ts";
import { RateLimiter } from "../http/rate-limiter.ts";
import {
  type AdmissionFile,
  type AdmittedPeer,
  type RemovedPeer,
  type InviteInfo,
  type Joined,
  type StoredInvite,
  readAdmission,
  writeAdmission,
} from "./admission-file.ts";
import { CODE_BYTES, CODE_ID_BYTES } from "./invite-text.ts";
import { AdmissionRoll, type StoredEntry, type Trust } from "./roll.ts";

const INVITES_MAX = 100;
/** Wrong invites in a time, from all peers together; beyond, nobody unknown is let in for a while. */
const FAILURES_MAX = 20;
const FAILURES_MS = 60_000;
const DEFAULT_TRUST: Trust = { takesIntroductions: true, isNewcomer: false };

/** Whom a node admits because of invites, and the invites that are open. Each own change is stored before it is told. */
export class AdmissionStore implements Admission {
  readonly #directory: string;
  readonly #invites = new Map<string, StoredInvite>();
  readonly roll: AdmissionRoll;
  readonly #joined: Joined[];
  readonly #failures = new RateLimiter(FAILURES_MAX, FAILURES_MS);
  #closedUntilMs = 0;
  #writing: Promise<void> = Promise.resolve();

  private constructor(directory: string, file: AdmissionFile, trust: Trust) {
    const { invites, joined } = file;
    this.#directory = directory;
    for (const invite of invites) this.#invites.set(invite.id, invite);
    const isNewcomer = trust.isNewcomer || joined.length > 0;
    this.roll = new AdmissionRoll(entriesOf(file), { ...trust, isNewcomer }, () => this.#save());
    this.#joined = [...joined];
  }

  /** Fails with `INVALID_OPTIONS` for a damaged file. */
  static async open(directory: string, trust: Trust = DEFAULT_TRUST): Promise<AdmissionStore> {
    return new AdmissionStore(directory, await readAdmission(directory), trust);
  }

  admits(peer: string): boolean {
    return this.roll.admits(peer);
  }

  isOpen(): boolean {
    return performance.now() >= this.#closedUntilMs && this.invites().length > 0;
  }

  /** One peer an invite; the peer that used it may present it again, should it have missed the answer. */
  async redeem(peer: string, code: Uint8Array): Promise<boolean> {
    const id = Buffer.from(code.subarray(0, CODE_ID_BYTES)).toString("hex");
    const invite = this.#invites.get(id);
    if (invite === undefined || !this.#isGood(invite, code)) {
      if (this.admits(peer)) return true;
      this.#count();
      return false;
    }
    // Before anything is awaited: two peers that come at once must not both get in.
    this.#invites.delete(id);
    const takeBack = this.roll.decide(peer, false, invite.label);
    try {
      await this.#save();
    } catch {
      this.#invites.set(id, invite);
      takeBack();
      return false;
    }
    this.roll.decided();
    return true;
  }

  /** Those that are open, oldest first. */
  invites(): InviteInfo[] {
    const now = Date.now();
    return [...this.#invites.values()]
      .filter(({ expiresAt }) => expiresAt > now)
      .map(({ id, label, createdAt, expiresAt }) => ({ id, label, createdAt, expiresAt }));
  }

  admitted(): AdmittedPeer[] {
    const admitted = this.roll.entries().filter(({ isRemoved }) => !isRemoved);
    return admitted.map(({ peer, label, at, by }) => ({ peer, label, admittedAt: at, ...toldBy(by) }));
  }

  joined(): readonly Joined[] {
    return this.#joined;
  }

  /** Makes an invite; `code` is what is to be presented. Fails with `INVALID_REQUEST` when there are too many. */
  async invite(label: string, expiresAt: number): Promise<{ readonly info: InviteInfo; readonly code: Uint8Array }> {
    for (const [id, invite] of this.#invites) if (invite.expiresAt <= Date.now()) this.#invites.delete(id);
    if (this.#invites.size >= INVITES_MAX) {
      throw new ServerError("INVALID_REQUEST", `there are ${INVITES_MAX} open invites already; revoke some`);
    }
    const code = randomBytes(CODE_BYTES);
    const id = code.subarray(0, CODE_ID_BYTES).toString("hex");
    const info: InviteInfo = { id, label, createdAt: Date.now(), expiresAt };
    this.#invites.set(id, { ...info, hash: hashOf(code).toString("hex") });
    await this.#save();
    return { info, code: new Uint8Array(code) };
  }

  /** Whether there was such an invite. */
  async revoke(id: string): Promise<boolean> {
    const isThere = this.#invites.delete(id);
    if (isThere) await this.#save();
    return isThere;
  }

  /** Admits a peer no longer, here and on the members that hear of it; whether it was admitted by an invite. */
  async forget(peer: string): Promise<boolean> {
    const entry = this.roll.entries().find((known) => known.peer === peer);
    if (entry === undefined || entry.isRemoved) return false;
    const takeBack = this.roll.decide(peer, true, entry.label);
    try {
      await this.#save();
    } catch (error) {
      takeBack();
      throw error;
    }
    this.roll.decided();
    return true;
  }

  /** Keeps what an invite has said, for the next starts. */
  async join(joined: Joined): Promise<void> {
    this.#joined.push(joined);
    await this.#save();
  }

  #removed(): RemovedPeer[] {
    const removed = this.roll.entries().filter(({ isRemoved }) => isRemoved);
    return removed.map(({ peer, label, at, by }) => ({ peer, label, removedAt: at, ...toldBy(by) }));
  }

  #isGood({ hash, expiresAt }: StoredInvite, code: Uint8Array): boolean {
    return isSameHash(hashOf(code), Buffer.from(hash, "hex")) && expiresAt > Date.now();
  }

  #count(): void {
    const waitMs = this.#failures.take();
    if (waitMs > 0) this.#closedUntilMs = performance.now() + waitMs;
  }

  /** One write at a time, each with everything there is by then. */
  async #save(): Promise<void> {
    const write = async (): Promise<void> => {
      const [invites, admitted, removed] = [[...this.#invites.values()], this.admitted(), this.#removed()];
      await writeAdmission(this.#directory, { version: 1, invites, admitted, removed, joined: this.#joined });
    };
    const writing = this.#writing.then(write);
    this.#writing = writing.catch(() => undefined);
    await writing;
  }
}

function entriesOf({ admitted, removed = [] }: AdmissionFile): StoredEntry[] {
  return [
    ...admitted.map(({ peer, label, admittedAt: at, by }) => ({ peer, label, at, isRemoved: false, ...toldBy(by) })),
    ...removed.map(({ peer, label, removedAt: at, by }) => ({ peer, label, at, isRemoved: true, ...toldBy(by) })),
  ];
}

function toldBy(by: string | undefined): { readonly by?: string } {
  return by === undefined ? {} : { by };
}
