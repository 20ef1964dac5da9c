// What each refusal of §4 means to whoever was refused: one sentence on why, and what to do.

import type { AuthorityRecord, Command, RefusalCode } from "@godwit/common/lease";
import { RefusalCode as WireCode } from "@godwit/proto/godwit/registry/v1/authority";

export interface RefusalContext {
  readonly command: { readonly kind: Command["kind"] | "force_recover" | "reassert"; readonly agentId: string };
  readonly record: AuthorityRecord | undefined;
  /** The incarnation that answers. */
  readonly incarnation: string;
}

const MESSAGES: Readonly<Record<RefusalCode, (context: RefusalContext) => string>> = {
  STALE_INCARNATION: ({ incarnation }) =>
    `the registry's store has incarnation ${incarnation}: read the record again and decide anew under that`,
  QUARANTINE: () => "the registry is in quarantine and changes nothing: its /readyz says what an operator can do",
  SESSION_UNKNOWN: () => "the registry does not know this session: open a new one with a new boot id",
  SESSION_VOID: () => "this session has ended for good: open a new one and recover its agents under that",
  BAD_SECRET: () => "the command does not carry this session's secret: use the one that OpenSession answered",
  NO_RECORD: ({ command }) => `there is no record of agent ${command.agentId}: check the id, or acquire the agent`,
  EXISTS: ({ command }) => `agent ${command.agentId} exists already: make another genesis with a new nonce`,
  BAD_GENESIS: () =>
    "the genesis does not give this agent its id, names another host or another incarnation, or the head is not its " +
    "tick 0: make a new genesis on the host that creates the agent",
  TERMINATED: () => "the agent was terminated and never runs again: delete what is held of it",
  NOT_OWNER: ({ record }) =>
    `${ownerOf(record)} under major ${record?.major ?? "?"}: stop ticking the agent and act on the record`,
  STALE_REVISION: ({ record }) =>
    `the record has moved on to revision ${record?.revision ?? "?"}: read it and decide anew`,
  OWNER_ALIVE: ({ record }) => `${ownerOf(record)}, and that session lives: wait until it is void`,
  HANDOFF_IN_PROGRESS: ({ record }) =>
    `handoff ${record?.handoff?.id ?? "?"} of this agent is under way: wait for its end, or revert it`,
  HANDOFF_SUPERSEDED: () =>
    "this handoff is dead: read the record, and keep what was staged only as a replica once the record shows that",
  DIVERGENT_LINEAGE: () =>
    "the agent has two different checkpoints of one major and tick: an operator has to choose one with force_recover",
  RECOVERY_REQUIRED: recoveryRequired,
  BASE_UNCONFIRMED: () => "the base of this major is not confirmed: report it as head, and wait for the answer, first",
  STALE_CHECKPOINT: ({ record }) =>
    `a newer checkpoint is known (head: major ${record?.head.major ?? "?"}, tick ${record?.head.tick ?? "?"}), or this ` +
    "one is not on the agent's lineage: use an acceptable one, or keep this one for inspection",
  BAD_TOKEN: () =>
    "the relinquish token is not signed by the owner's host, or not for this agent, target and checkpoint: ask the " +
    "source for the right one",
  BAD_GRANT: () =>
    "what was reasserted is no grant or termination of this agent that this registry signed: after the quarantine, recover " +
    "the agent",
};

export function refusalMessage(code: RefusalCode, context: RefusalContext): string {
  return MESSAGES[code](context);
}

export function wireRefusal(code: RefusalCode): WireCode {
  return WireCode[code];
}

function recoveryRequired({ command, record, incarnation }: RefusalContext): string {
  const { kind } = command;
  if (kind === "force_recover") {
    return "there is no conflict to decide: let a holder recover the agent, or state that no acceptable checkpoint is left; with the checkpoint, show its whole spine";
  }
  if (kind === "reassert") {
    return "this grant was given up, or the quarantine is over: a holder of an acceptable checkpoint recovers the agent after the quarantine";
  }
  const lost = record?.incarnation !== incarnation || record.afterLoss !== undefined;
  if (lost && kind === "recover") {
    return "the store had forgotten: recover the agent with a checkpoint and its whole spine, made before that";
  }
  if (lost) return "the store had forgotten, and nobody has confirmed the agent since: recover it first";
  return `the agent is in state ${record.state}, in which this cannot be done: recover it first`;
}

function ownerOf(record: AuthorityRecord | undefined): string {
  return record?.owner === undefined ? "nobody owns the agent" : `host ${record.owner.hostId} owns the agent`;
}
