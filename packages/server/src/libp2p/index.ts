export {
  type Admission,
  createNetworkKey,
  type Introductions,
  type Invitation,
  type Libp2pTransportOptions,
  libp2pTransport,
  type Roll,
  type RollEntry,
} from "@coppice/replication/libp2p";
