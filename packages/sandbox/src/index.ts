export { type Capability, capabilities, type HostcallName } from "./abi.ts";
export type { AgentInstance, ReplayedTicks, TickFailure, TickInput, TickResult } from "./agent.ts";
export { compileWasmNow, type WasmModule } from "./engine.ts";
export {
  decodeEventLog,
  encodeEventLog,
  maxEventLogBytes,
  maxEventLogTicks,
  type RecordedTick,
  type TickToRepeat,
} from "./events/event-log.ts";
export {
  type DeclaredCapability,
  type DeclaredLimits,
  declaredCapabilities,
  declaredLimits,
  type Manifest,
  type MigrationPolicy,
  maxManifestBytes,
  missingCapabilities,
  parseManifest,
  type RecoveryPolicy,
  type ResourceLimits,
} from "./manifest.ts";
export type { CompiledModule } from "./module/compiled.ts";
export { type InlineParts, InlineThreads } from "./pool/inline-threads.ts";
export type { WorkerLost } from "./pool/lane.ts";
export type { ThreadPool } from "./pool/spares.ts";
export type { ReplayResult } from "./replay.ts";
export { defaultSandboxRules, type SandboxRules } from "./rules.ts";
export { type ReplayOptions, Sandbox, type SandboxParts, type StartOptions } from "./sandbox.ts";
export type { Machine } from "./worker/machine.ts";
