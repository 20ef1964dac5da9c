// One seed: a cluster, agents, moves and faults for some minutes; then the faults stop, and everything has to be well again.

import { decodeRecord } from "@godwit/registry/parts";
import { Cluster, readAgent } from "./cluster/cluster.ts";
import { drawFaults, type Fault, type FaultKind } from "./faults/plan.ts";
import { Strikes } from "./faults/strike.ts";
import { History, type HistoryCounts, type Violation } from "./history/history.ts";
import { Operator } from "./operator.ts";
import { Payer } from "./payer.ts";
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
  /** The cluster; unset: drawn from the seed. */
  readonly shape?: Shape;
  /** Whether the store may forget; it may, unless it is said. */
  readonly losses?: "never";
  /** Faults of these kinds only; unset: a few kinds are drawn. */
  readonly kinds?: readonly FaultKind[];
  /** No fault at all. */
  readonly calm?: boolean;
  /** How long before the faults end; unset: drawn, and longer when too little has happened by then. */
  readonly lengthMs?: number;
}

export interface Shape {
  readonly hosts: number;
  readonly registries: number;
  readonly agents: number;
  readonly tickEveryMs?: number;
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
/** Microcents: for ever, and for some hundred ticks. */
const RICH = 1_000_000_000_000n;
const POOR = 3n;

export async function runSeed(rules: SeedRules): Promise<SeedReport> {
  const { seed, agentDirectory, print, onlyFaults } = rules;
  const timeline = new Timeline();
  const chance = new Chance(seed);
  const trace: Trace = print === undefined ? silence : traceTo(timeline, print);
  const shape = chance.fork("shape");
  const drawn: Shape = { hosts: shape.whole(2, 5), registries: shape.whole(1, 3), agents: shape.whole(1, 8) };
  const size = rules.shape ?? drawn;
  const history: History = new History(timeline, {
    registryKey: () => cluster.registryKey.publicKey,
    hostNamed: (id) => cluster.hosts.find(({ hostId }) => hostId === id)?.name ?? id,
  });
  const fired: Partial<Record<FaultKind, number>> = {};
  const cluster = new Cluster(
    {
      timeline,
      chance: chance.fork("cluster"),
      trace,
      onCrashPoint: (who, point) => strikes.reached(who, point),
      onRetries: (agentId, counted) => history.retried(agentId, counted),
      witness: {
        replayed: (host, segment) => history.replayed(host, segment),
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
        applied: (change, how) => history.applied(change, how),
        closed: (session) => {
          history.closed(session);
          trace.say("store", `session ${session.bootId.slice(0, 8)} is closed`);
        },
      },
    },
    size,
  );
  const agents: string[] = [];
  const operator = new Operator(
    { cluster, chance: chance.fork("operator"), trace, agents },
    { moves: rules.calm === true ? "only" : "among-others" },
  );
  const payer = new Payer({ cluster, history, chance: chance.fork("payer"), trace, agents });
  const strikes: Strikes = new Strikes({
    cluster,
    trace,
    move: (agentId, to) => operator.move(agentId, to),
    fired: (kind) => {
      fired[kind] = (fired[kind] ?? 0) + 1;
    },
  });

  cluster.start();
  await timeline.runUntil(() => timeline.nowMs >= QUIET_MS / 2);
  const program = readAgent(agentDirectory);
  for (let number = 0; number < size.agents; number++) {
    const host = shape.pick(cluster.hosts);
    host.process?.enter(() => {
      cluster
        .run(host, {
          name: `agent-${number}`,
          ...program,
          budget: rules.calm !== true && shape.happens(0.25) ? POOR : RICH,
        })
        .then(
          (agentId) => void agents.push(agentId),
          (error: unknown) => cluster.bugs.push(`agent-${number} did not begin: ${String(error)}`),
        );
    });
  }
  await timeline.runUntil(() => timeline.nowMs >= QUIET_MS);

  const drawnMs = shape.between(LEAST_MS, LEAST_MS * 1.1);
  const lengthMs = rules.lengthMs ?? drawnMs;
  const plan = drawFaults(chance.fork("faults"), {
    firstMs: QUIET_MS,
    lastMs: MOST_MS,
    losses: rules.losses !== "never",
    only: rules.kinds,
  });
  const wanted = rules.calm === true ? [] : plan.filter(({ id }) => onlyFaults?.has(id) ?? true);
  for (const fault of wanted) {
    timeline.at(fault.atMs, () => {
      if (!isOver) strikes.strike(fault, chance.fork(`fault ${fault.id}`));
    });
  }
  timeline.after(1_000, () => operator.work());
  if (rules.calm !== true) timeline.after(1_000, () => payer.work());

  let isOver = false;
  const firings = () => Object.values(fired).reduce((sum, count) => sum + count, 0);
  const enough = () => operator.migrations >= 1 && firings() >= LEAST_FAULTS;
  await timeline.runUntil(
    () =>
      history.violations.length > 0 ||
      (timeline.nowMs >= lengthMs && (rules.lengthMs !== undefined || enough() || timeline.nowMs >= MOST_MS)),
  );
  isOver = true;
  operator.rest();
  payer.rest();
  const counted = enough();
  trace.say("FAULT", "no more from here on");
  strikes.end();

  const endMs = timeline.nowMs;
  const goesOn = (agentId: string) => (history.lastTickMs(agentId) ?? 0) > endMs + 1;
  const ticksAgain = () => agents.every(goesOn);
  // What an operator has stopped waits to be asked, by whoever has it; where the store forgot that it was asked already, a
  // tombstone still says so (GA-9), and this host may hold the only checkpoint that may be gone on from.
  const askAgain = () => {
    const records = recordsIn(cluster);
    for (const agentId of history.agents.keys()) {
      const record = records.get(agentId); // not history's: of one that is unfunded the store may have gone back to an older `stopped`
      if (record?.reason === "unfunded") continue;
      const isStopped = record?.state === "RETIRED";
      for (const host of cluster.hosts) {
        const journal = host.storage?.agent(agentId)?.journal;
        const tombstone = journal?.phase === "retired" ? journal.why : undefined;
        const waits = tombstone === "stopped" || tombstone === "failed";
        if (isStopped || (waits && !goesOn(agentId))) operator.recover(agentId, host);
      }
    }
    payer.settle(goesOn);
    timeline.after(5_000, askAgain);
  };
  askAgain();
  let settledMs = 0;
  if (history.violations.length === 0) {
    await timeline.runUntil(() => timeline.nowMs > endMs + LIVELY_WITHIN_MS || ticksAgain());
    settledMs = timeline.nowMs - endMs;
    for (const agentId of agents) {
      if (goesOn(agentId)) continue;
      history.violated(
        "I9",
        agentId,
        `it did not tick again within ${LIVELY_WITHIN_MS} ms: ${standing(cluster, agentId)}`,
      );
    }
  }
  if (history.violations.length === 0) {
    const leftovers = () => untidy(cluster, history, endMs);
    let lookAtMs = 0;
    await timeline.runUntil(() => {
      if (timeline.nowMs < lookAtMs) return false;
      lookAtMs = timeline.nowMs + 1_000;
      return timeline.nowMs > endMs + TIDY_WITHIN_MS || (timeline.nowMs > endMs + 15_000 && leftovers().length === 0);
    });
    for (const { agentId, what } of leftovers()) history.violated("I8", agentId, what);
  }
  for (const { rule, agentId, what } of history.violations)
    trace.say("VIOLATION", `${rule} ${agentId.slice(0, 8)} ${what}`);
  const report: SeedReport = {
    seed,
    ...size,
    simulatedMs: timeline.nowMs,
    steps: timeline.steps,
    faults: wanted.filter(({ atMs }) => atMs <= endMs),
    fired,
    migrations: operator.migrations,
    counts: history.counts,
    settledMs,
    enough: counted,
    violations: history.violations,
    bugs: cluster.bugs,
  };
  cluster.discard();
  return report;
}

function untidy(
  cluster: Cluster,
  history: History,
  sinceMs: number,
): readonly { readonly agentId: string; readonly what: string }[] {
  const staged = cluster.hosts.flatMap((host) =>
    (host.storage?.staged() ?? []).map(({ agentId, handoffId }) => ({
      agentId,
      what: `handoff ${handoffId.slice(0, 8)} is still staged on ${host.name}`,
    })),
  );
  const records = recordsIn(cluster);
  const open = [...records]
    .filter(([, { state }]) => state === "HANDOFF_INITIATED" || state === "HANDOFF_PENDING")
    .map(([agentId, { state }]) => ({ agentId, what: `its record is still ${state}` }));
  // One whose money has ended ticks no more, whether its record was lost afterwards or not.
  const unsaved = [...history.agents]
    .filter(([id]) => records.get(id)?.state !== "RETIRED" && (history.lastTickMs(id) ?? 0) > sinceMs)
    .filter(([, { lastCheckpointMs }]) => lastCheckpointMs < sinceMs)
    .map(([agentId, { lastCheckpointMs }]) => ({
      agentId,
      what: `it has no checkpoint since ${Math.round(lastCheckpointMs)} ms`,
    }));
  return [...staged, ...open, ...unsaved];
}

/** As the store has them now: history knows what was decided last, which the store may have forgotten. */
function recordsIn(cluster: Cluster) {
  return new Map([...cluster.store.records()].map(([id, bytes]) => [id, decodeRecord(bytes).record]));
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
