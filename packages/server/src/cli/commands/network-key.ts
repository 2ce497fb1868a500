import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function networkKeyCommand(program: Command, { streams }: CliContext): void {
  program
    .command("network-key")
    .summary("make a key for a private network")
    .description(
      "Prints a fresh key, in the format of libp2p swarm keys. Only nodes that start with the same key can connect.",
    )
    .addHelpText(
      "after",
      "\nExample:\n  (umask 077; coppice network-key > network.key)\n  coppice start --data ./a --network-key-file network.key",
    )
    .action(async () => {
      const { createNetworkKey } = await import("@coppice/replication/libp2p");
      streams.out(createNetworkKey());
    });
}
