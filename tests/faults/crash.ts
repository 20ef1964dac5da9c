// kill -9 at every named point of source and target, each with a restart on the same data (testing.md, fault 1).

import { SOURCE_CRASH_POINTS, TARGET_CRASH_POINTS } from "@godwit/agent-host/parts";
import { startRedis } from "@godwit/testing";
import type { SuiteRules } from "./frames.ts";
import { type Outcome, outcomeOf } from "./judge.ts";
import { Company, longLease } from "./processes.ts";
import { crashWhileReasserting } from "./reassert-crashes.ts";
import { RegistryCrashes, registryPoints } from "./registry-crashes.ts";

export interface CrashRules extends SuiteRules {
  /** `bounded`: without what has to wait for a lease, and of the registry only what a migration asks of it. */
  readonly share: "all" | "bounded";
}

const maxTries = 5;

export async function runCrashes(rules: CrashRules): Promise<void> {
  const { tally, signal, say, share } = rules;
  await using redis = await startRedis({ aof: true });
  await using company = await Company.start({ lease: longLease, redisUrl: redis.url }, signal);
  const [first] = company.hosts;
  let agentId = await company.run(first, company.newName());

  const points = [...SOURCE_CRASH_POINTS, ...TARGET_CRASH_POINTS];
  say(`${points.length} crash points of source and target`);
  for (const point of points) {
    signal.throwIfAborted();
    const kind = `crash: ${point.split(".")[0]}`;
    try {
      tally.fired(kind, await crashOfHost(company, agentId, point));
    } catch (error) {
      signal.throwIfAborted();
      tally.failed(kind, `crash: ${point}`, error);
      agentId = await afresh(company);
    }
  }

  const registry = new RegistryCrashes(company, signal);
  const asked = registryPoints(share);
  say(`${asked.length} crash points of the registry`);
  for (const point of asked) {
    signal.throwIfAborted();
    try {
      const { outcome, agentId: next } = await registry.crash(point, agentId);
      agentId = next;
      tally.fired("crash: registry", outcome);
    } catch (error) {
      signal.throwIfAborted();
      tally.failed("crash: registry", `crash: registry ${point}`, error);
      agentId = await afresh(company);
    }
  }
  if (share === "all") await crashWhileReasserting(rules);
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
    await node.restart();
    const after = await company.settle(agentId);
    if (died) return outcomeOf({ owner: source, major: before.status.major }, after);
  }
  throw new Error(`the point was not reached in ${maxTries} migrations`);
}

/** Everything that runs is started anew, and another agent made: what failed is not to fail the next case too. */
async function afresh(company: Company): Promise<string> {
  await company.registry.restart();
  for (const { node } of company.hosts) await node.restart();
  return await company.run(company.hosts[0], company.newName());
}
