// One seed: a cluster, agents, moves and faults for some minutes; then the faults stop, and everything has to be well again.

import { Cluster, readAgent } from "./cluster/cluster.ts";
import type { SimHost } from "./cluster/sim-host.ts";
import { drawFaults, type Fault, type FaultKind } from "./faults/plan.ts";
import { agentsOn, Strikes } from "./faults/strike.ts";
import { History, type HistoryCounts, type Violation } from "./history/history.ts";
import { Chance } from "./time/chance.ts";
import { Timeline } from "./time/timeline.ts";
import { silence, type Trace, traceTo } from "./trace.ts";

export interface SeedRules {
  readonly seed: number;
  /** Where survivor.wasm and its manifest are. */
  readonly agentDirectory: string;
  /** A line of the timeline; unset: none is made. */
  readonly print?: (line: string) => void;
  /** Of the plan's faults only these, by their ids; unset: all. */
  readonly onlyFaults?: ReadonlySet<number>;
}

export interface SeedReport {
  readonly seed: number;
  readonly hosts: number;
  readonly agents: number;
  readonly registries: number;
  readonly simulatedMs: number;
  readonly steps: number;
  readonly faults: readonly Fault[];
  readonly fired: Readonly<Partial<Record<FaultKind, number>>>;
  readonly migrations: number;
  readonly counts: HistoryCounts;
  /** From the end of the faults until every agent had ticked again. */
  readonly settledMs: number;
  /** Whether enough happened for the run to count: two minutes, a migration, three faults. */
  readonly enough: boolean;
  readonly violations: readonly Violation[];
  readonly bugs: readonly string[];
}

const QUIET_MS = 3_000;
const LEAST_MS = 120_000;
const MOST_MS = 360_000;
/** I9: a lease, its grace, what is asked with back-off meanwhile, and a migration that has to give up. */
const LIVELY_WITHIN_MS = 90_000;
/** I8. */
const TIDY_WITHIN_MS = 180_000;
const LEAST_FAULTS = 3;

export async function runSeed({ seed, agentDirectory, print, onlyFaults }: SeedRules): Promise<SeedReport> {
  const timeline = new Timeline();
  const chance = new Chance(seed);
  const trace: Trace = print === undefined ? silence : traceTo(timeline, print);
  const shape = chance.fork("shape");
  const size = { hosts: shape.whole(2, 5), registries: shape.whole(1, 3) };
  const agentCount = shape.whole(1, 8);
  const history: History = new History(timeline, () => cluster.registryKey.publicKey);
  const fired: Partial<Record<FaultKind, number>> = {};
  const cluster = new Cluster(
    {
      timeline,
      chance: chance.fork("cluster"),
      trace,
      onCrashPoint: (who, point) => strikes.reached(who, point),
      witness: {
        ticked: (host, session, ended) => {
          history.ticked(host, session, ended);
          if (print !== undefined && ended.outcome !== "recovering") {
            trace.say(
              host,
              `${ended.outcome} tick ${ended.agentId.slice(0, 8)} ${ended.era}:${ended.major}:${ended.tick}`,
            );
          }
        },
        committed: (host, unit) => history.committed(host, unit),
        applied: (change) => history.applied(change),
        closed: (session) => {
          history.closed(session);
          trace.say("store", `session ${session.bootId.slice(0, 8)} is closed`);
        },
      },
    },
    size,
  );
  let migrations = 0;
  const agents: string[] = [];
  const hostOf = (agentId: string): SimHost | undefined =>
    cluster.hosts.find((host) => agentsOn(host).includes(agentId));
  const move = (agentId: string, to: SimHost): void => {
    const from = hostOf(agentId);
    if (from === undefined || from === to) return;
    trace.say("operator", `move ${agentId.slice(0, 8)} from ${from.name} to ${to.name}`);
    cluster.migrate(from, { agentId, to: to.hostId }, (ended) => {
      if (ended === "done") migrations++;
    });
  };
  const strikes: Strikes = new Strikes({
    cluster,
    trace,
    move,
    fired: (kind) => {
      fired[kind] = (fired[kind] ?? 0) + 1;
    },
  });

  cluster.start();
  await timeline.runUntil(() => timeline.nowMs >= QUIET_MS / 2);
  const program = readAgent(agentDirectory);
  for (let number = 0; number < agentCount; number++) {
    const host = shape.pick(cluster.hosts);
    host.process?.enter(() => {
      cluster.run(host, { name: `agent-${number}`, ...program, budget: 1_000_000_000_000n }).then(
        (agentId) => void agents.push(agentId),
        (error: unknown) => cluster.bugs.push(`agent-${number} did not begin: ${String(error)}`),
      );
    });
  }
  await timeline.runUntil(() => timeline.nowMs >= QUIET_MS);

  const lengthMs = shape.between(LEAST_MS, LEAST_MS * 1.5);
  const plan = drawFaults(chance.fork("faults"), { firstMs: QUIET_MS, lastMs: MOST_MS });
  const wanted = plan.filter(({ id }) => onlyFaults?.has(id) ?? true);
  for (const fault of wanted) {
    timeline.at(fault.atMs, () => {
      if (!isOver) strikes.strike(fault, chance.fork(`fault ${fault.id}`));
    });
  }
  const operator = chance.fork("operator");
  const operate = () => {
    if (isOver) return;
    if (agents.length > 0) move(operator.pick(agents), operator.pick(cluster.hosts));
    timeline.after(operator.between(1_000, 15_000), operate);
  };
  timeline.after(1_000, operate);

  let isOver = false;
  const firings = () => Object.values(fired).reduce((sum, count) => sum + count, 0);
  const enough = () => migrations >= 1 && firings() >= LEAST_FAULTS;
  await timeline.runUntil(
    () => history.violations.length > 0 || (timeline.nowMs >= lengthMs && (enough() || timeline.nowMs >= MOST_MS)),
  );
  isOver = true;
  const counted = enough();
  trace.say("FAULT", "no more from here on");
  strikes.end();

  const endMs = timeline.nowMs;
  const ticksAgain = () => agents.every((agentId) => (history.lastTickMs(agentId) ?? 0) > endMs + 1);
  let settledMs = 0;
  if (history.violations.length === 0) {
    await timeline.runUntil(() => timeline.nowMs > endMs + LIVELY_WITHIN_MS || ticksAgain());
    settledMs = timeline.nowMs - endMs;
    for (const agentId of agents) {
      if ((history.lastTickMs(agentId) ?? 0) > endMs + 1) continue;
      history.violated(
        "I9",
        agentId,
        `it did not tick again within ${LIVELY_WITHIN_MS} ms: ${standing(cluster, agentId)}`,
      );
    }
  }
  if (history.violations.length === 0) {
    const leftovers = () => untidy(cluster, history);
    let lookAtMs = 0;
    await timeline.runUntil(() => {
      if (timeline.nowMs < lookAtMs) return false;
      lookAtMs = timeline.nowMs + 1_000;
      return timeline.nowMs > endMs + TIDY_WITHIN_MS || (timeline.nowMs > endMs + 30_000 && leftovers().length === 0);
    });
    for (const { agentId, what } of leftovers()) history.violated("I8", agentId, what);
  }
  for (const { rule, agentId, what } of history.violations)
    trace.say("VIOLATION", `${rule} ${agentId.slice(0, 8)} ${what}`);
  const report: SeedReport = {
    seed,
    ...size,
    agents: agentCount,
    simulatedMs: timeline.nowMs,
    steps: timeline.steps,
    faults: wanted.filter(({ atMs }) => atMs <= endMs),
    fired,
    migrations,
    counts: history.counts,
    settledMs,
    enough: counted,
    violations: history.violations,
    bugs: cluster.bugs,
  };
  cluster.discard();
  return report;
}

function untidy(cluster: Cluster, history: History): readonly { readonly agentId: string; readonly what: string }[] {
  const staged = cluster.hosts.flatMap((host) =>
    (host.storage?.staged() ?? []).map(({ agentId, handoffId }) => ({
      agentId,
      what: `handoff ${handoffId.slice(0, 8)} is still staged on ${host.name}`,
    })),
  );
  const open = [...history.agents]
    .filter(([, { record }]) => record?.state === "HANDOFF_INITIATED" || record?.state === "HANDOFF_PENDING")
    .map(([agentId, { record }]) => ({ agentId, what: `its record is still ${record?.state}` }));
  return [...staged, ...open];
}

/** Why an agent does not tick, as far as can be told from outside. */
function standing(cluster: Cluster, agentId: string): string {
  const hosts = cluster.hosts.map((host) => {
    const supervisor = host.graph?.roster.supervisor(agentId);
    const journal = host.storage?.agent(agentId)?.journal.phase ?? "nothing";
    return `${host.name}: ${supervisor?.tenancy.tenure.kind ?? "not run"}${supervisor?.reason ? ` (${supervisor.reason})` : ""}, journal ${journal}`;
  });
  return hosts.join("; ");
}
