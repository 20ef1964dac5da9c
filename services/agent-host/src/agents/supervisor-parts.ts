// What a supervisor is given: what never changes about its agent, the parts it works with, and its times.

import type { Clock, Random } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { Checkpoint, Signer } from "@godwit/lineage";
import type { AgentInstance, Capability, Manifest, Sandbox } from "@godwit/sandbox";
import type { Logger } from "pino";
import type { SessionKeeper } from "../registry/session-keeper.ts";
import type { DataDirectory } from "../storage/index.ts";
import type { LogBook } from "./log-book.ts";
import type { ReplayWindowRules } from "./replay-window.ts";
import type { Progress, Tenancy } from "./tenancy.ts";

/** What never changes about an agent. */
export interface AgentIdentity {
  readonly agentId: string;
  readonly name: string;
  readonly moduleDigest: string;
  readonly manifestDigest: string;
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
  readonly capabilities: ReadonlySet<Capability>;
}

export type TickOutcome =
  | { readonly kind: "normal" | "more-work" | "funded" | "exhausted" | "discarded" | "recovering" }
  | { readonly kind: "stopped"; readonly reason: string };

/** A turn of an agent that ended, as metrics and checkers hear of it. */
export interface EndedTick {
  readonly agentId: string;
  readonly outcome: TickOutcome["kind"];
  /** Where the agent stands now: under `discarded` and `recovering` as before, else the number that was taken. */
  readonly era: bigint;
  readonly major: bigint;
  readonly tick: bigint;
  /** Undefined when nothing ran. */
  readonly elapsedNs: bigint | undefined;
}

export interface SupervisorRules {
  readonly tickEveryMs: number;
  readonly moreWorkEveryMs: number;
  readonly checkpointEveryMs: number;
  readonly maxFailedTicks: number;
  /** Between two looks at the registry while in doubt. */
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
  readonly replayWindow: ReplayWindowRules;
}

export const defaultSupervisorRules: SupervisorRules = {
  tickEveryMs: 1_000,
  moreWorkEveryMs: 10,
  checkpointEveryMs: 5_000,
  maxFailedTicks: 5,
  firstRetryMs: 250,
  maxRetryMs: 5_000,
  replayWindow: { ticks: 16, maxBytes: 4 << 20, untilVerified: true },
};

/** What agents need of a sandbox: a port, so that tests and the simulator bring their own. */
export type AgentSandbox = Pick<Sandbox, "compile" | "start" | "replay">;

/** What agents need of the host's session: a port, like the sandbox. */
export type HostSession = Pick<
  SessionKeeper,
  "current" | "lease" | "generation" | "trouble" | "quarantine" | "reading" | "on" | "suspect" | "closeEarlier"
>;

export interface SupervisorParts {
  readonly tenancy: Tenancy;
  readonly keeper: HostSession;
  readonly storage: DataDirectory;
  readonly sandbox: AgentSandbox;
  readonly signer: Signer;
  readonly hostId: string;
  readonly logs: LogBook;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Microcents a second, as it is now. */
  readonly price: () => bigint;
  readonly onCommitted: (agentId: string, checkpoint: Checkpoint) => void;
  /** It goes on from this checkpoint, which may have been another host's. */
  readonly onStanding: (agentId: string, checkpoint: Checkpoint) => void;
  readonly onTick: (ended: EndedTick) => void;
  /** It ended here: retired, terminated, or released. */
  readonly onEnded: (agentId: string) => void;
}

/** An instance at the state of a checkpoint. */
export interface Standing {
  readonly checkpoint: Checkpoint;
  readonly instance: AgentInstance;
  /** Of its wallet, as of the checkpoint. */
  readonly receipts: readonly Uint8Array[];
}

/** What is told to whoever asks something of an agent that may not tick here, or does not stand; `reason` as people see it. */
export function whyNotOurs(
  tenancy: Pick<Tenancy, "mayTick" | "tenure">,
  { agentId, reason }: { readonly agentId: string; readonly reason: string },
): Fault {
  const right = tenancy.mayTick();
  if (right.kind === "may-not" && right.because === "lease-lapsed")
    return new Fault({ code: "LEASE_EXPIRED", agentId });
  const { kind } = tenancy.tenure;
  if (kind === "HANDOFF_INITIATED" || kind === "HANDOFF_PENDING") {
    return new Fault({ code: "MIGRATION_IN_PROGRESS", agentId });
  }
  return new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: reason || kind });
}

/** Why an agent in doubt does not tick, for people. */
export function explainWaiting(progress: Progress & { kind: "waiting" }): string {
  const texts: Record<string, string> = {
    "registry-unreachable": "the registry does not answer: asking again",
    "no-record": "the registry has no record of it: waiting for an operator",
    "store-loss": "the registry's store forgot it, and nothing that is held here may be gone on from",
    quarantine: "the registry's store forgot: waiting for the end of its quarantine",
    QUARANTINE: "the registry's store forgot: waiting for the end of its quarantine",
    "divergent-lineage": "two different checkpoints of one tick are known: an operator has to decide",
    "earlier-session-not-void": "waiting until this host's earlier session has ended",
    "owner-not-void": "another host owns it",
    "no-session": "no session with the registry",
  };
  return texts[progress.why] ?? `the registry answered ${progress.why}: asking again`;
}
