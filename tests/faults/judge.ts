// What has to hold after every fault, asked of hosts in this process and of real ones alike: whoever the registry names
// ticks, nobody else does, nothing is left in a staging area, and what was committed is one chain (EI-1, EI-3, EI-10, I8).

import type { ServiceClient } from "@godwit/grpc";
import { fromProtoSigned, type LineageReport, verifyHeader, verifyLineage } from "@godwit/lineage";
import type { AgentStatus, HostService, MigrateAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import { checkSingleOwner, type HistoryEvent, type RegistryNode, waitFor } from "@godwit/testing";

/** A host as the judge asks it. */
export interface JudgedHost {
  readonly name: string;
  readonly hostId: string;
  readonly host: ServiceClient<typeof HostService>;
  agent(agentId: string, signal?: AbortSignal): Promise<AgentStatus | undefined>;
  /** Handoffs in its staging area. */
  staged(signal?: AbortSignal): Promise<number>;
}

export interface Case<Host extends JudgedHost = JudgedHost> {
  readonly agentId: string;
  readonly registry: RegistryNode;
  /** All that run. */
  readonly hosts: readonly Host[];
  readonly signal: AbortSignal;
  /** Every tick that was committed, when it could be watched; else the checkpoints that the hosts hold have to do. */
  readonly ticks?: readonly HistoryEvent[];
  readonly evidence?: () => string;
}

export interface Settled<Host extends JudgedHost = JudgedHost> {
  readonly owner: Host;
  readonly status: AgentStatus;
  readonly lineage: LineageReport;
}

/** For what hangs, not for what is slow. */
const settleWithinMs = 90_000;
/** A second owner would have committed some too. */
const ticksSeen = 3n;

/** Throws an Error that says what does not hold. */
export async function settle<Host extends JudgedHost>(asked: Case<Host>): Promise<Settled<Host>> {
  const { agentId, hosts, signal, evidence } = asked;
  const rules = { timeoutMs: settleWithinMs, everyMs: 10, signal, ...(evidence === undefined ? {} : { evidence }) };
  const { owner, status: first } = await waitFor((limited) => soleOwner(asked, limited), {
    what: `one host owns ${agentId.slice(0, 8)}`,
    ...rules,
  });
  const status = await waitFor(
    async (limited) => {
      const now = await owner.agent(agentId, limited);
      return now?.state === "ACTIVE_OWNER" && now.tick >= first.tick + ticksSeen ? now : undefined;
    },
    { what: `${agentId.slice(0, 8)} ticks on ${owner.name} beyond ${first.tick + ticksSeen}`, ...rules },
  );
  for (const host of hosts) {
    await waitFor(async (limited) => (await host.staged(limited)) === 0, {
      what: `nothing is staged on ${host.name}`,
      ...rules,
    });
    if (host === owner) continue;
    const seen = await host.agent(agentId, signal);
    if (seen?.state === "ACTIVE_OWNER") {
      throw new Error(`${host.name} owns ${agentId} at tick ${seen.tick} of major ${seen.major} beside ${owner.name}`);
    }
  }
  return { owner, status, lineage: await verified(asked) };
}

/** The one that says so and is named by the registry, and that ticks already: until it does, its status has no tick to count from. */
async function soleOwner<Host extends JudgedHost>(
  { agentId, hosts, registry }: Case<Host>,
  signal: AbortSignal,
): Promise<{ readonly owner: Host; readonly status: AgentStatus } | undefined> {
  const owners: { readonly owner: Host; readonly status: AgentStatus }[] = [];
  for (const owner of hosts) {
    const status = await owner.agent(agentId, signal);
    if (status?.state === "ACTIVE_OWNER") owners.push({ owner, status });
  }
  const [only] = owners;
  if (only === undefined || owners.length > 1 || only.status.lastOutcome === "recovering") return undefined;
  const { record } = await registry.authority.getAgent({ agentId }, { signal });
  return record?.owner?.hostId === only.owner.hostId && record.major === only.status.major ? only : undefined;
}

/** Of the headers that all hosts hold, together: a fork between two of them shows. */
async function verified({ agentId, hosts, registry, signal, ticks }: Case): Promise<LineageReport> {
  const headers = [];
  for (const host of hosts) {
    if ((await host.agent(agentId, signal)) === undefined) continue;
    for await (const { header } of host.host.getLineage({ agentId }, { signal })) {
      if (header !== undefined) headers.push(fromProtoSigned(header));
    }
  }
  const registryKey = new Uint8Array((await registry.sessions.describeRegistry({}, { signal })).publicKey);
  const lineage = verifyLineage(headers, registryKey);
  const wrong = lineage.problems.map(({ kind, detail }) => `${kind}: ${detail}`);
  wrong.push(...breaks(lineage));

  const checkpoints: HistoryEvent[] = headers.map((signed) => {
    const { header, signerHostId, digest } = verifyHeader(signed, registryKey);
    const { era, major, tick } = header;
    return { kind: "committed", agentId, hostId: signerHostId, era, major, tick, digest };
  });
  for (const { era, major, rollback, afterStoreLoss, firstTick } of lineage.owners) {
    // What the store forgot altogether was given up, too, though no base shows it; a higher era is the mark of that (GA-9).
    if (rollback !== undefined || afterStoreLoss) {
      const fromTick = rollback?.toTick ?? firstTick - 1n;
      checkpoints.push({ kind: "rollback", agentId, era, major, fromTick });
    }
  }
  wrong.push(...checkSingleOwner(checkpoints, { seen: "some-ticks" }));
  if (ticks !== undefined) wrong.push(...checkSingleOwner(ticks.filter((event) => event.agentId === agentId)));
  if (wrong.length > 0) throw new Error(`agent ${agentId}:\n${wrong.join("\n")}`);
  return lineage;
}

/** EI-10: each owner begins after the last tick of the one before, or its rollback is marked. */
function breaks({ owners }: LineageReport): string[] {
  return owners.flatMap(({ major, firstTick, rollback }, index) => {
    const before = owners[index - 1];
    if (before === undefined || rollback !== undefined || firstTick === before.lastTickSeen + 1n) return [];
    return [`major ${major} begins with tick ${firstTick}, after tick ${before.lastTickSeen} and without a rollback`];
  });
}

export type MoveEvent = MigrateAgentResponse["event"];

export interface MoveRules {
  readonly to: JudgedHost;
  readonly signal: AbortSignal;
  /** At the target. */
  readonly attempts?: number;
}

/** The whole story of a migration, one attempt; it ends early when the source dies. Throws what the call threw. */
export async function move(
  source: JudgedHost,
  agentId: string,
  { to, signal, attempts = 1 }: MoveRules,
): Promise<readonly MoveEvent[]> {
  const story: MoveEvent[] = [];
  const request = { agentId, targetHostId: to.hostId, allowFallback: false, retries: attempts, retryDelayMs: 1 };
  for await (const { event } of source.host.migrateAgent(request, { timeoutMs: 120_000, signal })) story.push(event);
  return story;
}

/**
 * How a migration ended: `moved` to the target, `recovered` by its source under a higher major, `reverted` to it as it was.
 * `done`: what was asked was no migration, and was done, once.
 */
export type Outcome = "moved" | "recovered" | "reverted" | "done";

export function outcomeOf(
  before: { readonly owner: JudgedHost; readonly major: bigint },
  after: { readonly owner: JudgedHost; readonly status: AgentStatus },
): Outcome {
  if (after.owner !== before.owner) return "moved";
  return after.status.major > before.major ? "recovered" : "reverted";
}

/** The one who asked was told how it ended; and who signed the agent away never has it again under that major (GH-1). */
export function checkTold(story: readonly MoveEvent[], outcome: Outcome): void {
  const told = story.at(-1)?.case;
  const right = outcome === "moved" ? "done" : "givenUp";
  if (told !== right) throw new Error(`the agent was ${outcome}, and the story ended with ${told ?? "nothing"}`);
  const relinquished = story.some((event) => event.case === "step" && event.value.step === "relinquished");
  if (relinquished && outcome === "reverted") throw new Error("it goes on under the major that was signed away");
}
