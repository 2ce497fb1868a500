import { expect, it } from "vitest";
import { type Libp2pTransportOptions, libp2pTransport } from "./libp2p-transport.ts";

const wrong: readonly (readonly [string, unknown, string])[] = [
  ["no options", null, "must be an object"],
  ["an option that there is not", { networkkey: "x" }, "has no option networkkey"],
  ["one address instead of a list", { listen: "/ip4/127.0.0.1/tcp/0" }, "listen must be a list"],
  ["one peer instead of a list", { peers: "/ip4/127.0.0.1/tcp/1" }, "peers must be a list"],
  ["one peer id instead of a list", { allow: "12D3KooW" }, 'neither "any" nor a list'],
  ["a key that is no text", { networkKey: 5 }, "networkKey"],
];

it.each(wrong)("says what is wrong with %s", (_what, options, message) => {
  const make = (): unknown => libp2pTransport(options as Libp2pTransportOptions);
  expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining(message) }));
});
