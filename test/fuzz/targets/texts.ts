import { VersionVector, createActor } from "@coppice/crdt";
import { internal } from "../internal.ts";
import { type Target, accept, isNamed, must, mustBeBounded, mustEqual } from "../target.ts";

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}

interface SessionTokens {
  encodeSessionToken(points: ReadonlyMap<string, { epoch: number; vector: VersionVector }>): string;
  decodeSessionToken(token: string): ReadonlyMap<string, { epoch: number; vector: VersionVector }>;
}

/** Session tokens, under their Base64url: inputs are the bytes, or the text itself. */
async function sessionTokenTarget(): Promise<Target> {
  const { decodeSessionToken, encodeSessionToken } = await internal<SessionTokens>("replication/dist/session-token.js");
  const vector = new VersionVector([[createActor(new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)), 7]]);
  const seeds = [new Map(), new Map([["sa!", { epoch: 1, vector }]])].map((points) => encodeSessionToken(points));
  const isTyped = isNamed("ReplicationError");
  return {
    name: "session-token",
    seeds: seeds.map((text) => new Uint8Array(Buffer.from(text, "base64url"))),
    run(input) {
      accept(() => decodeSessionToken(textOf(input)), isTyped);
      const points = accept(() => decodeSessionToken(Buffer.from(input).toString("base64url")), isTyped);
      if (points === undefined) return false;
      mustBeBounded(points, input, 256);
      const text = encodeSessionToken(points);
      must(encodeSessionToken(decodeSessionToken(text)) === text, "a token is not written as it was read");
      return true;
    },
  };
}

/** What a newcomer pastes. */
async function inviteTarget(): Promise<Target> {
  const { formatInvite, parseInvite } = await internal<{
    formatInvite(invite: object): string;
    parseInvite(text: string): { readonly code: Uint8Array };
  }>("server/dist/admission/invite-text.js");
  const invite = { addresses: ["/ip4/127.0.0.1/tcp/1"], domains: ["a"], networkKey: "k", expiresAt: 1e12 };
  const text = formatInvite({ ...invite, code: new Uint8Array(38) });
  const prefix = text.slice(0, text.indexOf(".") + 1);
  return {
    name: "invite",
    seeds: [new Uint8Array(Buffer.from(text.slice(prefix.length), "base64url"))],
    run(input) {
      accept(() => parseInvite(textOf(input)), isNamed("ServerError"));
      const parse = (): object => parseInvite(prefix + Buffer.from(input).toString("base64url"));
      const read = accept(parse, isNamed("ServerError"));
      if (read === undefined) return false;
      mustBeBounded(read, input);
      parseInvite(formatInvite(read));
      return true;
    },
  };
}

/** What an automerge-repo client sends. */
async function repoTarget(): Promise<Target> {
  const { readRepoMessage, relayedMessage, repoMessage } = await internal<{
    readRepoMessage(bytes: Uint8Array): { readonly type: string; readonly fields?: ReadonlyMap<string, unknown> };
    relayedMessage(message: object, targetId: string): Uint8Array;
    repoMessage(fields: object): Uint8Array;
  }>("server/dist/http/automerge-wire.js");
  const documentId = "4NMNnkMhL8jXrdJ9jamS58PAVdXu";
  const data = Uint8Array.of(1, 2, 3);
  return {
    name: "repo-message",
    seeds: [
      repoMessage({ type: "join", senderId: "s", peerMetadata: {}, supportedProtocolVersions: ["1"] }),
      repoMessage({ type: "sync", senderId: "s", targetId: "t", documentId, data }),
      repoMessage({ type: "ephemeral", senderId: "s", targetId: "t", documentId, sessionId: "x", count: 1, data }),
      repoMessage({ type: "remote-heads-changed", senderId: "s" }),
    ].map((bytes) => new Uint8Array(bytes)),
    heap: { base: 4 << 20, perByte: 4096 },
    run(input) {
      const message = accept(() => readRepoMessage(input), isNamed("ServerError"));
      if (message === undefined) return false;
      mustBeBounded(message, input, 256);
      if (message.fields === undefined) return true;
      const relayed = accept(() => relayedMessage(message, "t2"), isNamed("ServerError"));
      if (relayed === undefined) return false;
      must(readRepoMessage(relayed).type === "ephemeral", "a message is passed on as another");
      return true;
    },
  };
}

/** Addresses that peers tell of. */
async function addressTarget(): Promise<Target> {
  const { parseHint } = await internal<{ parseHint(text: string): { toString(): string } | undefined }>(
    "replication/dist/libp2p/address.js",
  );
  const texts = ["/ip4/127.0.0.1/tcp/4001", "/dns4/example.org/tcp/1/ws", "/ip6/::1/tcp/4001/p2p/12D3KooW"];
  return {
    name: "address",
    seeds: texts.map(bytesOf),
    run(input) {
      const address = parseHint(textOf(input));
      if (address === undefined) return false;
      must(parseHint(address.toString()) !== undefined, "an address is of use only once");
      return true;
    },
  };
}

/** What members tell of whom they admit. */
async function introductionsTarget(): Promise<Target> {
  const { decodeIntroductions, encodeIntroductions } = await internal<{
    decodeIntroductions(bytes: Uint8Array): object;
    encodeIntroductions(told: object): Uint8Array;
  }>("replication/dist/libp2p/introductions.js");
  const roll = [{ peer: "12D3KooWx", at: 1_800_000_000_000, isRemoved: true, label: "ü" }];
  return {
    name: "introductions",
    seeds: [encodeIntroductions({ roll, members: ["12D3KooWy"] }), encodeIntroductions({ roll: [], members: [] })],
    run(input) {
      const told = accept(() => decodeIntroductions(input), isNamed("CrdtError"));
      if (told === undefined) return false;
      mustBeBounded(told, input);
      const bytes = encodeIntroductions(told);
      mustEqual(encodeIntroductions(decodeIntroductions(bytes)), bytes, "it is not written as it was read");
      return true;
    },
  };
}

/** A key that an operator pastes. */
async function networkKeyTarget(): Promise<Target> {
  const { createNetworkKey, parseNetworkKey } = await internal<{
    createNetworkKey(): string;
    parseNetworkKey(key: string): Uint8Array;
  }>("replication/dist/libp2p/network-key.js");
  return {
    name: "network-key",
    seeds: [bytesOf(createNetworkKey()), bytesOf("ab".repeat(32))],
    run(input) {
      const key = accept(() => parseNetworkKey(textOf(input)), isNamed("ReplicationError"));
      if (key === undefined) return false;
      mustEqual(parseNetworkKey(Buffer.from(key).toString("hex")), key, "a key has two meanings");
      return true;
    },
  };
}

export function textTargets(): Map<string, () => Promise<Target>> {
  return new Map([
    ["session-token", sessionTokenTarget],
    ["invite", inviteTarget],
    ["repo-message", repoTarget],
    ["address", addressTarget],
    ["introductions", introductionsTarget],
    ["network-key", networkKeyTarget],
  ]);
}
