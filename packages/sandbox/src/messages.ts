// What the host's thread and a worker say to each other.
//
// The host sends several requests in one message; the worker does them in their order, counts in its pulse which it has begun, and answers
// them in their order, several in one message. `drop` is the exception: it is not counted and has no answer.

import type { HostcallName } from "./abi.ts";
import type { WasmModule } from "./engine.ts";
import type { WasiGrant } from "./wasi-abi.ts";

export interface WorkerLimits {
  readonly maxLogBytes: number;
  readonly maxEventBytes: number;
}

export interface WorkerSetup {
  readonly pulse: SharedArrayBuffer;
  readonly limits: WorkerLimits;
  /** Where time and chance of agents come from, instead of the machine. */
  readonly seed: Uint8Array | undefined;
}

/** What an agent may see of its host while a request runs. */
export interface HostView {
  /** Wall time on the host's clock when the request was sent; the worker adds what passes from then on. */
  readonly wallNs: bigint;
  readonly balanceMicrocents: bigint;
  readonly pricePerSecond: bigint;
  /** Undefined: as in this instance's last request. */
  readonly receipts: readonly Uint8Array[] | undefined;
}

export interface Load {
  readonly module: WasmModule;
  readonly memoryExport: string;
  readonly maxMemoryBytes: number;
  readonly maxStateBytes: number;
  /** Linked; nothing else is. */
  readonly hostcalls: readonly HostcallName[];
  /** Undefined: it imports nothing of WASI. */
  readonly wasi: WasiGrant | undefined;
  /** Undefined: the agent begins, and its first state is answered. */
  readonly state: Uint8Array | undefined;
}

export interface RunRequest {
  /** `retake`: a load that also answers the state that the agent gives once it has resumed one. */
  readonly kind: "load" | "retake" | "tick";
  readonly agent: number;
  /** Makes a new instance first, in the place of one that may be there. */
  readonly load: Load | undefined;
  readonly view: HostView;
}

export interface ReplayRequest {
  readonly kind: "replay";
  readonly agent: number;
  readonly load: Load | undefined;
  /** For what is called outside of ticks. */
  readonly view: HostView;
  /** The events of each tick, oldest first; the worker does as many as it gets to. */
  readonly ticks: readonly Uint8Array[];
}

export type WorkRequest = RunRequest | ReplayRequest;
export type Request = { readonly kind: "drop"; readonly agent: number } | WorkRequest;

/** A part of the work on an agent; tells whose fault a failure is. */
export type Phase = "start" | "resume" | "tick" | "checkpoint";

export type FailureReason = "trap" | "memory" | "bad-result";

export type Answer = RunAnswer | ReplayAnswer;

export type RunAnswer =
  | {
      readonly kind: "ok";
      readonly moreWork: boolean;
      /** Around `agent_tick` only; 0 for a load. */
      readonly elapsedNs: bigint;
      /** Undefined after a load with a state, unless it was to be retaken: it is that state. */
      readonly state: Uint8Array | undefined;
      /** What the agent called in the tick; undefined if it called nothing. */
      readonly events: Uint8Array | undefined;
      readonly logs: readonly string[];
      readonly logsDropped: number;
    }
  | {
      /** Of a load or a tick, or of a replay for a reason that is not in what is replayed. */
      readonly kind: "failed";
      readonly phase: Phase;
      readonly reason: FailureReason;
      readonly message: string;
      readonly elapsedNs: bigint;
      readonly logs: readonly string[];
      readonly logsDropped: number;
    };

/** Of a replay. The worker is done with so many of the ticks that it was sent; the next one is where it diverged. */
export type ReplayAnswer =
  | { readonly kind: "replayed"; readonly done: number; readonly state: Uint8Array; readonly elapsedNs: bigint }
  | { readonly kind: "diverged"; readonly done: number; readonly call: number | undefined; readonly reason: string };

/** The worker's word after it has loaded its code. */
export type FromWorker = { readonly kind: "ready" } | { readonly kind: "answers"; readonly answers: readonly Answer[] };
