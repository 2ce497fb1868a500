import type { Node } from "@coppice/replication";
import { ServerError } from "../error.ts";
import type { AdmittedPeer, InviteInfo } from "./admission-file.ts";
import type { AdmissionStore } from "./admission-store.ts";
import { formatInvite } from "./invite-text.ts";

/** What an invite is to be. */
export interface InviteRequest {
  readonly label?: string;
  /** Default: one day. */
  readonly expiresInSeconds?: number;
}

const DAY_S = 86_400;
const LABEL_LENGTH_MAX = 100;
export const INVITE_SECONDS_MAX: number = 30 * DAY_S;

/** Makes the invites of a running node. */
export class Invites {
  readonly #store: AdmissionStore;
  readonly #node: Node;
  readonly #domains: readonly string[] | undefined;
  readonly #networkKey: string | undefined;

  /** @param domains those that the node replicates; undefined for all */
  constructor(
    store: AdmissionStore,
    node: Node,
    domains: readonly string[] | undefined,
    networkKey: string | undefined,
  ) {
    this.#store = store;
    this.#node = node;
    this.#domains = domains;
    this.#networkKey = networkKey;
  }

  /** Fails with `INVALID_REQUEST` for a node that cannot be dialled. */
  async create(request: InviteRequest): Promise<{ readonly info: InviteInfo; readonly text: string }> {
    const { label = "", expiresInSeconds = DAY_S } = request;
    const addresses = this.#node.addresses();
    if (addresses.length === 0)
      throw invalid("this node listens nowhere, so nobody could come: start it with --listen");
    if (label.length > LABEL_LENGTH_MAX) throw invalid(`a label has at most ${LABEL_LENGTH_MAX} characters`);
    const expiresAt = Date.now() + expiresInSeconds * 1000;
    const { info, code } = await this.#store.invite(label, expiresAt);
    const text = formatInvite({ addresses, domains: this.#domains, networkKey: this.#networkKey, code, expiresAt });
    return { info, text };
  }

  open(): readonly InviteInfo[] {
    return this.#store.invites();
  }

  admitted(): readonly AdmittedPeer[] {
    return this.#store.admitted();
  }

  /** Whether there was such an invite. */
  async revoke(id: string): Promise<boolean> {
    return await this.#store.revoke(id);
  }

  /** Admits a peer no longer and ends its link; whether it came with an invite. */
  async forget(peer: string): Promise<boolean> {
    if (!(await this.#store.forget(peer))) return false;
    await this.#node.disconnect(peer);
    return true;
  }
}

function invalid(detail: string): ServerError {
  return new ServerError("INVALID_REQUEST", detail);
}
