// What both ways of showing a cluster do with it: run the survivor, watch it tick, move it.

import { systemClock, withDeadline } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { MigrateAgentResponse, MigrationDone } from "@godwit/proto/godwit/host/v1/host";
import { type AgentRow, overview } from "../operations/agents.ts";
import { listHosts } from "../operations/hosts.ts";
import { type MigrateRequest, migrateAgent } from "../operations/migrate.ts";
import { runAgent } from "../operations/run-agent.ts";
import { migrationText } from "../print/status.ts";
import type { Session } from "../session.ts";
import type { RunningCluster } from "./running-cluster.ts";
import type { Story } from "./story.ts";

export interface Scene {
  readonly cluster: Pick<RunningCluster, "plan" | "pidOf">;
  readonly session: Session;
  readonly story: Story;
  /** The agent's module. */
  readonly survivor: string;
  readonly dataDir: string;
  readonly redisUrl: string | undefined;
}

export const AGENT_NAME = "survivor";
const BUDGET = 1_000_000n;
const LOOK_EVERY_MS = 100;
const TICKS_WITHIN_MS = 30_000;
const MIGRATION_WITHIN_MS = 60_000;

/** The survivor of an earlier run on the same data, or a new one. */
export async function bringSurvivor({ session, story, survivor }: Scene): Promise<string> {
  const earlier = (await overview(session)).agents.find(
    ({ name, state }) => name === AGENT_NAME && state !== "RETIRED",
  );
  if (earlier !== undefined) {
    story.tell(`${AGENT_NAME} is there from before: ${earlier.agentId.slice(0, 8)}`);
    return earlier.agentId;
  }
  const request = { modulePath: survivor, manifestPath: undefined, budget: BUDGET, name: AGENT_NAME, host: undefined };
  const { agent, host } = await runAgent(session, request);
  story.tell(`${AGENT_NAME} (${agent.agentId.slice(0, 8)}) runs on ${host.name}, the cheapest that fits`);
  return agent.agentId;
}

/** Resolves with the agent when its owner says that it has committed this tick. Faults: DEADLINE_EXCEEDED. */
export async function untilTick(session: Session, agentId: string, tick: bigint): Promise<AgentRow> {
  const deadline = { what: `tick ${tick} of ${AGENT_NAME}`, ms: TICKS_WITHIN_MS, signal: session.signal };
  return await withDeadline(systemClock, deadline, async (signal) => {
    for (;;) {
      const { agents } = await overview(session);
      const row = agents.find((agent) => agent.agentId === agentId);
      if (row?.fromOwner === true && row.tick >= tick) return row;
      await systemClock.sleep(LOOK_EVERY_MS, signal);
    }
  });
}

export interface Moved {
  readonly done: MigrationDone;
  readonly events: readonly MigrateAgentResponse[];
}

type MoveRequest = Partial<Pick<MigrateRequest, "to" | "allowFallback">>;

/** Tells each step. Faults: MIGRATION_FAILED, with what was said, unless the agent runs elsewhere in the end. */
export async function moveSurvivor(
  { session, story }: Pick<Scene, "session" | "story">,
  agentId: string,
  { to, allowFallback = false }: MoveRequest = {},
): Promise<Moved> {
  const hosts = await listHosts(session);
  const timing = { timeoutMs: MIGRATION_WITHIN_MS, retries: undefined, retryDelayMs: undefined };
  const migration = await migrateAgent(session, { agent: agentId, to, allowFallback, ...timing });
  const events: MigrateAgentResponse[] = [];
  for await (const event of migration.events) {
    events.push(event);
    story.detail(`${event.atMs.toFixed(1).padStart(8)} ms  ${migrationText(event, hosts)}`);
  }
  const last = events.at(-1);
  if (last?.event.case === "done") return { done: last.event.value, events };
  const reason = last === undefined ? "the host said nothing" : migrationText(last, hosts);
  throw new Fault({ code: "MIGRATION_FAILED", agentId, reason });
}
