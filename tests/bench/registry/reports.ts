// report_heads: the newest checkpoints of a thousand agents in one call, on the Redis store.
//
// Floor: a bare grpc-js call with as many bytes there and back, and one bare Redis script that sets as many records.

import { create, toBinary } from "@bufbuild/protobuf";
import { AuthorityRecordSchema, ReportHeadsRequestSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { Cluster, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { BenchHost, type Held } from "../bench-host.ts";
import { figure, median } from "../figures.ts";
import { Floors } from "../floors/floors.ts";
import type { Results } from "../program.ts";
import { bareScript, forEachOf, type PartInput, registryEnv } from "./measuring.ts";

const AGENTS = 1_000;
const WARM_UP_BATCHES = 2;

export async function measureReports(
  { reports: batches }: { readonly reports: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis({ aof: true, appendfsync: "everysec" }));
  const cluster = stack.use(await Cluster.create({ redisUrl: `${redis.url}/1` }));
  const floors = stack.use(await Floors.start(cluster.dir, signal));
  const registry = await cluster.startRegistry({ env: registryEnv });

  say(`reports: making ${AGENTS} agents`);
  const host = await BenchHost.open(registry);
  const agents: Held[] = [];
  await forEachOf([...Array(AGENTS).keys()], { atOnce: 16, signal }, async () => agents.push(await host.acquireHeld()));
  const [first] = agents;
  if (first === undefined) throw new Error("there are no agents");
  const recordBytes = toBinary(AuthorityRecordSchema, first.record).length;
  const reportsOf = (batch: number) => agents.map((agent) => host.report(agent, BigInt(batch + 1)));
  const requestBytes = toBinary(
    ReportHeadsRequestSchema,
    create(ReportHeadsRequestSchema, { reports: reportsOf(0) }),
  ).length;
  const floorRedis = stack.adopt(new Redis(`${redis.url}/2`), (client) => client.disconnect());
  const script = bareScript(floorRedis, { bytes: recordBytes, values: AGENTS });

  say(`reports: ${batches} batches`);
  const [samples, floorSamples]: [number[], number[]] = [[], []];
  for (let batch = 0; batch < WARM_UP_BATCHES + batches; batch++) {
    signal.throwIfAborted();
    const reports = reportsOf(batch);
    const startedMs = performance.now();
    await host.reportHeads(reports);
    const reportedMs = performance.now();
    await floors.call({ requestBytes, responseBytes: AGENTS * recordBytes });
    await script();
    const endedMs = performance.now();
    if (batch < WARM_UP_BATCHES) continue;
    samples.push(reportedMs - startedMs);
    floorSamples.push(endedMs - reportedMs);
  }
  const name = `redis: report_heads, ${AGENTS.toLocaleString("en")} agents / bare call + bare Redis script of as many bytes`;
  return { figures: [figure({ name, unit: "ms", value: median(samples), floor: median(floorSamples) })], notes: [] };
}
