// The core without a node around it, for simulations that drive it themselves.
export { Core } from "../core/core.ts";
export type { CoreEffects, CoreOptions } from "../core/core-options.ts";
export { formatDigest } from "../core/digest.ts";
export type { Group, GroupPhase } from "../core/group.ts";
export { GroupHost, type HostEnvironment } from "../group-host.ts";
export { packFrames, Reassembly, unpackFrame } from "../core/frames.ts";
export { decodeMessage, encodeMessage } from "../core/message-codec.ts";
export type { Message } from "../core/messages.ts";
export type { ReplicationServer } from "../core/replication-server.ts";
export { decodeRuns, encodeRuns, Run, RunWalk } from "../core/run.ts";
export { Sketch } from "../core/sketch.ts";
