// kill -9 of the registry while hosts bring back what its store forgot (GA-7): before an item is stored, after, and before
// the host hears of it, one after another in one quarantine.

import { type RedisServer, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import type { SuiteRules } from "./frames.ts";
import { outcomeOf } from "./judge.ts";
import { Company } from "./processes.ts";

const moments = ["before-apply", "after-apply", "before-reply"] as const;
/** Three starts of a registry fit into it also on a machine that has a lot to do; the quarantine is as long. */
const lease = { duration: "40s", grace: "1s" };

export async function crashWhileReasserting({ tally, signal, say }: SuiteRules): Promise<void> {
  say(`${moments.length} crash points of reassert, in a quarantine of 41 s`);
  const kind = "crash: registry";
  try {
    await using redis = await startRedis({ aof: true });
    await using company = await Company.start({ lease, redisUrl: redis.url }, signal);
    const { registry } = company;
    const agentId = await company.run(company.hosts[0], company.newName());
    const before = await company.settle(agentId);
    const [first, ...later] = moments;
    await registry.armCrashPoint({ point: `reassert.${first}` });
    await wipe(redis);
    for (const next of [...later, undefined]) {
      if (!(await company.comes("reassert is under way", () => registry.pid === undefined, 60_000))) {
        throw new Error(`the point before ${next ?? "the end"} was not reached`);
      }
      // In quarantine it is not ready, and it is to die before that ends.
      registry.process.start(next === undefined ? {} : { GODWIT_CRASH_AT: `reassert.${next}` });
    }
    await registry.start();
    const after = await company.settle(agentId);
    for (const _ of moments) tally.fired(kind, outcomeOf({ owner: before.owner, major: before.status.major }, after));
  } catch (error) {
    signal.throwIfAborted();
    tally.failed(kind, "crash: registry reassert.*", error);
  }
}

async function wipe({ url }: RedisServer): Promise<void> {
  const redis = new Redis(url);
  try {
    await redis.flushall();
  } finally {
    redis.disconnect();
  }
}
