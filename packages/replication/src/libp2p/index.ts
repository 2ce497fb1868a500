export { createNetworkKey } from "./network-key.ts";
export { libp2pTransport, type Libp2pTransportOptions } from "./libp2p-transport.ts";
export type { Admission, Invitation } from "./admission.ts";
export type { Introductions, Roll, RollEntry } from "./introductions.ts";
