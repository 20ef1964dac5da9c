// A Redis that forgets under load (§9), again and again under the same agents: wiped, set back to an earlier copy, killed with
// the end of its log lost. Meanwhile agents move from host to host, a host dies just before, both registries die in the
// middle of the quarantine. After each loss: one new incarnation and one end of its quarantine, not one double tick, one
// owner of each agent, one chain with every rollback marked, and everybody ticks again in time.

import { systemClock } from "@godwit/common/clock";
import { type RedisServer, startRedis } from "@godwit/testing";
import { Drovers, Flock } from "./flock.ts";
import type { SuiteRules } from "./frames.ts";
import { logEnds, recoveredFrom, wrongMarks } from "./store-marks.ts";
import {
  forgetter,
  hearsAgain,
  registriesDieInQuarantine,
  type StoreRound,
  someHostDies,
  someHostSleeps,
} from "./store-troubles.ts";

export interface StoreRules extends SuiteRules {
  readonly seed: number;
  /** `bounded`: one of each kind, and each death once. */
  readonly share: "all" | "bounded";
}

const durationMs = 5_000;
const graceMs = 1_000;
/** After the last thing that was done to it (issue 4, acceptance 3), on a machine that has nothing else to do. */
const againWithinMs = durationMs + graceMs + 5_000;
/** For a machine that has a lot else to do: a figure above the bound is shown, one above this is a failure. */
const allowanceMs = 30_000;
/** Shorter ones are migrations, and ticks that a busy machine was late with. */
const standstillMs = 2_000;
const agentCount = 24;
const lanes = 4;
/** Migrations that the store forgets, at least. */
const forgottenMoves = 3;

export function storeRounds(share: "all" | "bounded"): readonly StoreRound[] {
  const bounded: readonly StoreRound[] = [
    { loss: "flushall", dies: "registries" },
    { loss: "rollback", dies: "host", deaf: true },
    { loss: "unsynced", sleeps: true },
  ];
  if (share === "bounded") return bounded;
  return [
    ...bounded,
    { loss: "flushall", sleeps: true },
    { loss: "flushall", deaf: true },
    { loss: "unsynced" },
    { loss: "rollback" },
    { loss: "unsynced", dies: "host" },
    { loss: "flushall", dies: "both" },
    { loss: "rollback", dies: "registries" },
    { loss: "unsynced", dies: "both" },
  ];
}

function nameOf({ loss, dies, sleeps, deaf }: StoreRound): string {
  const deaths = { registries: "both registries die in quarantine", host: "a host dies before", both: "both die" };
  return [
    loss,
    ...(dies === undefined ? [] : [deaths[dies]]),
    ...(sleeps ? ["a host wakes up after it"] : []),
    ...(deaf ? ["a host hears nothing of it"] : []),
  ].join(", ");
}

export async function runStoreLosses({ tally, signal, say, seed, share, only = "" }: StoreRules): Promise<void> {
  const rounds = storeRounds(share).filter((round) => nameOf(round).includes(only));
  say(`${rounds.length} losses of the store under ${agentCount} agents that move`);
  await using redis = await startRedis({ aof: true, appendfsync: "everysec" });
  await using flock = await Flock.start({ redisUrl: redis.url, durationMs, graceMs, agents: agentCount, seed, signal });
  for (const [index, round] of rounds.entries()) {
    signal.throwIfAborted();
    const kind = `store: ${round.loss}`;
    try {
      const figures = await lose(round, { flock, redis, seed: seed + index, signal });
      const line = `${nameOf(round)}: ${figures}`;
      tally.fired(kind, "done");
      tally.note(line);
      say(line);
    } catch (error) {
      signal.throwIfAborted();
      // What comes after would be judged by what is broken now.
      tally.failed(kind, `pnpm faults store --seed ${seed}, round ${index + 1}: ${nameOf(round)}`, error);
      return;
    }
  }
}

interface Scene {
  readonly flock: Flock;
  readonly redis: RedisServer;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** One loss and what comes of it; its figures for people. */
async function lose(round: StoreRound, { flock, redis, seed, signal }: Scene): Promise<string> {
  const { registries, agents, watch } = flock;
  const before = await flock.comes("the store is not in quarantine", (limited) =>
    recoveredFrom(registries, -1n, limited),
  );
  const from = logEnds(registries);
  const drovers = new Drovers(flock, { seed, lanes, signal });
  try {
    const forget = await forgetter(round, redis);
    await flock.comes("agents move", () => drovers.arrived >= forgottenMoves && drovers.underWay > 0);
    const dead = round.dies === "host" || round.dies === "both" ? await someHostDies(flock, seed) : undefined;
    const asleep = round.sleeps ? await someHostSleeps(flock, seed) : undefined;
    const deaf = round.deaf ? flock.deaf : undefined;
    deaf?.proxies.registry?.partition();
    const underWay = drovers.underWay;
    const lostAtMs = systemClock.monotonicMs();
    await forget();
    let sinceMs = systemClock.monotonicMs();
    dead?.process.start();
    asleep?.resume();
    if (deaf !== undefined) await hearsAgain(flock, deaf);
    if (round.dies === "registries" || round.dies === "both") {
      await registriesDieInQuarantine(flock, { above: before.counter, afterMs: (durationMs + graceMs) / 2, signal });
      sinceMs = systemClock.monotonicMs();
    }
    const after = await flock.comes("the quarantine is over", (limited) =>
      recoveredFrom(registries, before.counter, limited),
    );
    const endedAtMs = systemClock.monotonicMs();
    const arrivedBefore = drovers.arrived;
    await flock.comes("agents move again", () => drovers.arrived > arrivedBefore);
    await drovers.stop();
    await flock.comes("every agent ticks again", () => agents.every((id) => watch.tickedAfter(id, endedAtMs)));

    const stood = agents.flatMap((id) => {
      const longest = watch.longestStandstill(id, lostAtMs);
      return longest === undefined || longest.toMs - longest.fromMs < standstillMs ? [] : [longest.toMs - sinceMs];
    });
    if (dead !== undefined) await dead.start({}, signal);
    const wrong = [
      ...watch.offences,
      ...wrongMarks(registries, from, { incarnation: after.incarnation, lastsMs: durationMs + graceMs }),
    ];
    const lastMs = Math.max(0, ...stood);
    if (lastMs > againWithinMs + allowanceMs) {
      wrong.push(`an agent ticked again after ${seconds(lastMs)}: ${againWithinMs + allowanceMs} ms are the limit`);
    }
    // Before anything is waited for that would not come then.
    if (wrong.length > 0) throw new Error(`${wrong.join("\n")}\n${flock.evidence()}`);
    const lineages = await settled(flock);
    if (watch.offences.length > 0) throw new Error(`${watch.offences.join("\n")}\n${flock.evidence()}`);
    const owners = lineages.flatMap(({ owners: all }) => all.filter(({ era }) => era === after.counter));
    const rollbacks = lineages.flatMap(({ owners: all }) => all.filter(({ rollback }) => rollback !== undefined));
    return [
      `${underWay} migrations under way, ${drovers.arrived} arrived and ${drovers.failed} failed`,
      `${stood.length} of ${agents.length} agents stood still`,
      `the last ticks again after ${seconds(lastMs)} (${seconds(againWithinMs)} is the bound, ${stood.filter((ms) => ms > againWithinMs).length} above)`,
      `${owners.length} recovered under the new era, ${rollbacks.length} rollbacks marked so far, 0 double ticks`,
      `incarnation ${after.counter}: begun once, ended once`,
    ].join("; ");
  } finally {
    await drovers.stop();
  }
}

/** Of each agent the lineage, verified, after one host alone was seen to own it. */
async function settled(flock: Flock) {
  const left = [...flock.agents];
  const lineages: Awaited<ReturnType<Flock["settle"]>>["lineage"][] = [];
  const lane = async () => {
    for (let agentId = left.pop(); agentId !== undefined; agentId = left.pop()) {
      lineages.push((await flock.settle(agentId)).lineage);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return lineages;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
