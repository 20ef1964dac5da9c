import { create } from "@bufbuild/protobuf";
import { refOf, toProtoRef } from "@godwit/lineage";
import { type AgentStatus, AgentStatusSchema } from "@godwit/proto/godwit/host/v1/host";
import type { Supervisor } from "../agents/supervisor.ts";
import type { StoredAgent } from "../storage/index.ts";

/** An agent that this host runs, or would run. */
export function statusOfRunning(
  supervisor: Supervisor,
  { hostId, price, divergences }: { readonly hostId: string; readonly price: bigint; readonly divergences: number },
): AgentStatus {
  const { identity, tenancy, outcome, shown } = supervisor;
  const { tenure, ground } = tenancy;
  const status = create(AgentStatusSchema, {
    agentId: identity.agentId,
    name: identity.name,
    state: tenancy.journal.phase === "acquiring" ? "ACQUIRING" : tenure.kind,
    reason: supervisor.reason,
    tick: shown.tick,
    budget: shown.budget,
    pricePerSecond: price,
    stateBytes: shown.stateBytes,
    moduleDigest: Buffer.from(identity.moduleDigest, "hex"),
    lastOutcome: outcome.kind === "stopped" ? `stopped(${outcome.reason})` : outcome.kind,
    failedTicksInARow: supervisor.failures,
    hostId,
    verifiedTick: supervisor.window?.verifiedTick ?? 0n,
    divergences,
  });
  if (ground !== undefined) {
    status.era = ground.era;
    status.major = ground.major;
  }
  if (shown.checkpoint !== undefined) status.checkpoint = toProtoRef(shown.checkpoint);
  return status;
}

/** An agent of which this host only holds checkpoints, or a tombstone. */
export async function statusOfHeld(
  agent: StoredAgent,
  hostId: string,
  newest: (agentId: string) => Promise<Parameters<typeof refOf>[0] | undefined>,
): Promise<AgentStatus> {
  const { agentId, name, moduleDigest, journal } = agent;
  const checkpoint = await newest(agentId);
  const status = create(AgentStatusSchema, {
    agentId,
    name,
    state: journal.phase === "terminated" || journal.phase === "retired" ? "RETIRED" : "REPLICA",
    reason: journal.phase === "retired" ? journal.why : journal.phase,
    moduleDigest: Buffer.from(moduleDigest, "hex"),
    hostId,
  });
  if (checkpoint !== undefined) {
    status.checkpoint = toProtoRef(refOf(checkpoint));
    status.era = checkpoint.header.era;
    status.major = checkpoint.header.major;
    status.tick = checkpoint.header.tick;
    status.budget = checkpoint.header.budget;
    status.pricePerSecond = checkpoint.header.pricePerSecond;
    status.stateBytes = checkpoint.header.stateBytes;
  }
  return status;
}
