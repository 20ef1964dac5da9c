// kill -9 at every named point of source and target, each with a restart on the same data (testing.md, fault 1).

import { cp, rm } from "node:fs/promises";
import { DataDirectory, SOURCE_CRASH_POINTS, TARGET_CRASH_POINTS } from "@godwit/agent-host/parts";
import { systemClock } from "@godwit/common/clock";
import { startRedis } from "@godwit/testing";
import type { SuiteRules } from "./frames.ts";
import { type Outcome, outcomeOf } from "./judge.ts";
import { Company, longLease } from "./processes.ts";
import { crashWhileReasserting } from "./reassert-crashes.ts";
import { RegistryCrashes, registryPoints } from "./registry-crashes.ts";

export interface CrashRules extends SuiteRules {
  /** `bounded`: without what has to wait for a lease, and of the registry only what an owner and a migration ask of it. */
  readonly share: "all" | "bounded";
}

const maxTries = 5;
/** After so many deaths another agent is taken. */
const agentLives = 4;

export async function runCrashes(rules: CrashRules): Promise<void> {
  const { tally, signal, say, share } = rules;
  await using redis = await startRedis({ aof: true });
  await using company = await Company.start({ lease: longLease, redisUrl: redis.url }, signal);
  const [first] = company.hosts;
  let agentId = await company.run(first, company.newName());

  const { only = "" } = rules;
  const points = [...SOURCE_CRASH_POINTS, ...TARGET_CRASH_POINTS].filter((point) => point.includes(only));
  say(`${points.length} crash points of source and target`);
  for (const [index, point] of points.entries()) {
    signal.throwIfAborted();
    const kind = `crash: ${point.split(".")[0]}`;
    try {
      if (index % agentLives === agentLives - 1) agentId = await company.replace(agentId);
      tally.fired(kind, await crashOfHost(company, agentId, point));
    } catch (error) {
      signal.throwIfAborted();
      tally.failed(kind, `crash: ${point}`, error);
      agentId = await afresh(company);
    }
  }

  const registry = new RegistryCrashes(company, signal);
  const asked = registryPoints(share).filter((point) => point.includes(only));
  say(`${asked.length} crash points of the registry`);
  for (const [index, point] of asked.entries()) {
    signal.throwIfAborted();
    try {
      if (index % agentLives === agentLives - 1) agentId = await company.replace(agentId);
      const { outcome, agentId: next } = await registry.crash(point, agentId);
      agentId = next;
      tally.fired("crash: registry", outcome);
      say(`registry ${point}: ${outcome}`);
    } catch (error) {
      signal.throwIfAborted();
      tally.failed("crash: registry", `crash: registry ${point}`, error);
      agentId = await afresh(company);
    }
  }
  if (share === "all" && "reassert".includes(only)) await crashWhileReasserting(rules);
}

async function crashOfHost(
  company: Company,
  agentId: string,
  point: (typeof SOURCE_CRASH_POINTS)[number] | (typeof TARGET_CRASH_POINTS)[number],
): Promise<Outcome> {
  for (let tries = 0; tries < maxTries; tries++) {
    const before = await company.settle(agentId);
    const source = before.owner;
    const { node } = point.startsWith("source.") ? source : company.other(source);
    await node.armCrashPoint({ point });
    await company.move(source, agentId);
    const died = await company.comes(`${point} is reached`, () => node.pid === undefined);
    if (died) await checkDisk(point, node.dataDir, agentId);
    await node.restart();
    const after = await company.settle(agentId);
    if (died) return outcomeOf({ owner: source, major: before.status.major }, after);
  }
  throw new Error(`the point was not reached in ${maxTries} migrations`);
}

/** GH-1, GH-5: what may have left a host that was killed, or what it may have asked for, its disk knows. */
async function checkDisk(point: string, dataDir: string, agentId: string): Promise<void> {
  const expected = phaseAt(point);
  if (expected === undefined) return;
  // A copy: what is looked at stays as the dead process left it.
  const copy = `${dataDir}-copy`;
  await cp(dataDir, copy, { recursive: true });
  try {
    const storage = await DataDirectory.open(copy, {
      clock: systemClock,
      rules: { keepHeaders: 1_000, keepStates: 3 },
    });
    const phase = storage.agent(agentId)?.journal.phase ?? "nothing";
    const staged = storage.staged().length;
    await storage.close();
    if (phase !== expected) throw new Error(`killed at ${point}, the journal says ${phase}, not ${expected}`);
    if (phase === "claiming" && staged !== 1) throw new Error(`killed at ${point}, ${staged} handoffs are staged`);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

function phaseAt(point: string): string | undefined {
  switch (point) {
    case "source.after-relinquish":
    case "source.before-send-handoff":
    case "source.after-send-handoff":
      return "relinquished";
    case "target.after-stage":
    case "target.before-claim":
    case "target.after-claim":
      return "claiming";
    default:
      return undefined;
  }
}

/** Everything that runs is started anew, and another agent made: what failed is not to fail the next case too. */
async function afresh(company: Company): Promise<string> {
  await company.registry.restart();
  for (const { node } of company.hosts) await node.restart();
  return await company.run(company.hosts[0], company.newName());
}
