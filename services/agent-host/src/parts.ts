// What a host is made from inside another process. Only the simulation and the tests of whole clusters import this.

export { agentHost } from "./agent-host.ts";
export { type CheckpointContent, nextCheckpoint } from "./agents/checkpoints.ts";
export { replayModes } from "./agents/replay-policy.ts";
export type { ReplayedSegment } from "./agents/replay-verifier.ts";
export type { EndedTick } from "./agents/supervisor-parts.ts";
export {
  assemble,
  type HostConfig,
  type HostCrashPoint,
  type HostGraph,
  type HostNode,
  type HostPorts,
} from "./assemble.ts";
export { SOURCE_CRASH_POINTS, TARGET_CRASH_POINTS } from "./migration/crash-points.ts";
export { defaultMigrationTimeouts, type MigrationTimeouts } from "./migration/wire.ts";
export { type ByteStream, type ProtocolLimits, StreamFaults, type StreamHandler } from "./p2p/index.ts";
export { createTables, type DatabaseParts, type HeldDatabase } from "./storage/database.ts";
export { DataDirectory, type DataDirectoryParts, type WriteUnit } from "./storage/index.ts";
export { Meta } from "./storage/meta.ts";
