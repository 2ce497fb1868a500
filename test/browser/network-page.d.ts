/** The program that docs/network.md has for several tabs, as `page-server.ts` takes it from there. */
declare module "docs/network.md" {
  import type { AnyCrdtType, Node } from "coppice";

  export function startTab(types: readonly AnyCrdtType[], peers: readonly string[]): Promise<Node>;
}
