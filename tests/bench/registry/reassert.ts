// After FLUSHALL: until every host has its session and its agents back, through gRPC with real signatures.
//
// It begins when Redis has answered FLUSHALL. The registry finds the mark gone at its next look (every 500 ms) and writes a
// new one; the hosts, which look every 50 ms here, sign what they hold and send it, all at once, in one call each. The floor is
// the bare work for as many agents: one signature verified and one made for each, and for each host a bare grpc-js call
// with as many bytes and a bare Redis script that sets as many records; without the look.

import { generateKeyPairSync, sign, verify } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { systemClock } from "@godwit/common/clock";
import { AuthorityRecordSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { Cluster, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { BenchHost, done, type Held, incarnationOf } from "../bench-host.ts";
import { figure } from "../figures.ts";
import { Floors } from "../floors/floors.ts";
import type { Results } from "../program.ts";
import { bareScript, forEachOf, type PartInput, registryEnv } from "./measuring.ts";

const AIM_MS = 10_000;
const LOOK_EVERY_MS = 50;
/** The default of a host is 3 s for a call; a hundred that ask at once on a small machine take turns. */
const CALL_TIMEOUT_MS = 60_000;

export async function measureReassert(
  { hosts: hostCount, agents: agentCount }: { readonly hosts: number; readonly agents: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis({ aof: true, appendfsync: "everysec" }));
  const cluster = stack.use(await Cluster.create({ redisUrl: redis.url }));
  const floors = stack.use(await Floors.start(cluster.dir, signal));
  const registry = await cluster.startRegistry({ env: registryEnv });
  const direct = stack.adopt(new Redis(redis.url), (client) => client.disconnect());

  say(`reassert: making ${hostCount} hosts with ${agentCount} agents each`);
  const owners: { readonly host: BenchHost; readonly agents: Held[] }[] = [];
  await forEachOf([...Array(hostCount).keys()], { atOnce: 16, signal }, async () => {
    const host = await BenchHost.open(registry);
    const agents: Held[] = [];
    for (let made = 0; made < agentCount; made++) {
      signal.throwIfAborted();
      agents.push(await host.acquireHeld());
    }
    if (owners.push({ host, agents }) % 20 === 0) say(`reassert: ${owners.length} hosts`);
  });

  const before = await incarnationOf(registry);
  say("reassert: FLUSHALL");
  await direct.flushall();
  const startedMs = performance.now();
  let incarnation = before;
  while (incarnation === before) {
    await systemClock.sleep(LOOK_EVERY_MS, signal);
    incarnation = await incarnationOf(registry).catch(() => before); // it looks at its store
  }
  const noticedMs = performance.now();
  let back = 0;
  let requestBytes = 0;
  await Promise.all(
    owners.map(async ({ host, agents }) => {
      const request = host.reassertion(incarnation, agents);
      requestBytes = request.items?.length ?? 0;
      const { results } = await registry.authority.reassert(request, { signal, timeoutMs: CALL_TIMEOUT_MS });
      for (const answer of results) if (done(answer).grant !== undefined) back++;
    }),
  );
  const endedMs = performance.now();
  if (back !== hostCount * agentCount) throw new Error(`only ${back} of ${hostCount * agentCount} agents came back`);

  const [example] = owners[0]?.agents ?? [];
  if (example === undefined) throw new Error("there are no agents");
  const recordBytes = toBinary(AuthorityRecordSchema, example.record).length;
  const script = bareScript(direct, { bytes: recordBytes, values: agentCount });
  const floorStartedMs = performance.now();
  signatures(hostCount * agentCount);
  for (let host = 0; host < hostCount; host++) {
    await floors.call({ requestBytes, responseBytes: agentCount * recordBytes });
    await script();
  }
  const floorMs = performance.now() - floorStartedMs;
  const name = `redis: ${hostCount} hosts with ${agentCount} agents each, from FLUSHALL until the last one is back / the bare work`;
  const value = endedMs - startedMs;
  return {
    figures: [figure({ name, unit: "ms", value, floor: floorMs, aim: { of: "value", atMost: AIM_MS } })],
    notes: [`reassert: the loss was noticed after ${(noticedMs - startedMs).toFixed(0)} ms`],
  };
}

function signatures(count: number): void {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const message = Buffer.alloc(300, 7);
  for (let made = 0; made < count; made++) {
    if (!verify(null, message, publicKey, sign(null, message, privateKey)))
      throw new Error("a signature does not verify");
  }
}
