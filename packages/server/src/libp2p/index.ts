export { type Libp2pTransportOptions, libp2pTransport } from "@coppice/replication/libp2p";
