import type { Target } from "./target.ts";
import { coreTargets } from "./targets/core.ts";
import { crdtTargets } from "./targets/crdt.ts";
import { networkTargets } from "./targets/network.ts";
import { replicationTargets } from "./targets/replication.ts";
import { storageTargets } from "./targets/storage.ts";
import { textTargets } from "./targets/texts.ts";

type Factory = () => Target | Promise<Target>;

/** Every target, by name; made when it is asked for. */
export const TARGETS: ReadonlyMap<string, Factory> = new Map<string, Factory>([
  ...replicationTargets(),
  ...storageTargets(),
  ...networkTargets(),
  ...textTargets(),
  ...coreTargets(),
  ...crdtTargets(),
]);
