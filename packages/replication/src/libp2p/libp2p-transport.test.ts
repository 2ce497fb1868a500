import { describe, it } from "vitest";
import { transportSuite } from "../testing/transport-suite.ts";
import { libp2pTransport } from "./libp2p-transport.ts";

describe("transport suite", () => {
  transportSuite({
    describe,
    it,
    create: () => ({
      transport: (_name, { allow, at }) =>
        libp2pTransport({ listen: [at?.replace(/\/p2p\/.*/, "") ?? "/ip4/127.0.0.1/tcp/0"], allow }),
      deadAddress: "/ip4/127.0.0.1/tcp/1",
    }),
  });
});
