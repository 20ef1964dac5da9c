// SelectCandidates among many hosts, through gRPC on the Redis store.
//
// The hosts have sessions, a hundred prices, and two sets of capabilities; before every tenth call one of them has an
// outcome counted, so that there is something new to ask for. The floor is a bare grpc-js call with as many bytes, and one
// bare Redis script.

import { toBinary } from "@bufbuild/protobuf";
import { Outcome, SelectCandidatesResponseSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { Cluster, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { BenchHost } from "../bench-host.ts";
import { figure, quantile } from "../figures.ts";
import { Floors } from "../floors/floors.ts";
import type { Results } from "../program.ts";
import { bareScript, forEachOf, type PartInput, registryEnv } from "./measuring.ts";

const PRICES = 100;
const WARM_UP_CALLS = 200;
const REQUEST_BYTES = 64;
const P99_AIM_MS = 5;

export async function measureCandidates(
  { hosts: count, selections }: { readonly hosts: number; readonly selections: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis({ aof: true, appendfsync: "everysec" }));
  const cluster = stack.use(await Cluster.create({ redisUrl: `${redis.url}/1` }));
  const floors = stack.use(await Floors.start(cluster.dir, signal));
  const registry = await cluster.startRegistry({ env: registryEnv });

  say(`candidates: registering ${count} hosts`);
  const hosts: BenchHost[] = [];
  await forEachOf([...Array(count).keys()], { atOnce: 16, signal }, async (n) => {
    const host = await BenchHost.open(registry);
    const capabilities = n % 2 === 0 ? ["clock", "log"] : ["clock", "log", "http"];
    await host.register({ name: `host-${n}`, pricePerSecond: BigInt(1 + (n % PRICES)), capabilities });
    if (hosts.push(host) % 2_000 === 0) say(`candidates: ${hosts.length} hosts`);
  });
  const wishes = { maxPricePerSecond: BigInt(PRICES / 2), requiredCapabilities: ["http"], limit: 16 };
  const select = () => registry.directory.selectCandidates(wishes);
  const answer = await select();
  if (answer.hosts.length !== 16 && count >= 16 * 2 * PRICES) throw new Error(`${answer.hosts.length} candidates`);
  const responseBytes = toBinary(SelectCandidatesResponseSchema, answer).length;
  const floorRedis = stack.adopt(new Redis(`${redis.url}/2`), (client) => client.disconnect());
  const script = bareScript(floorRedis, { bytes: 64 });

  say(`candidates: ${selections} selections`);
  const [samples, floorSamples]: [number[], number[]] = [[], []];
  for (let call = -WARM_UP_CALLS; call < selections; call++) {
    signal.throwIfAborted();
    if (call % 10 === 0) await hosts[Math.abs(call) % hosts.length]?.reportOutcome(Outcome.FAILURE);
    const startedMs = performance.now();
    await select();
    const selectedMs = performance.now();
    await floors.call({ requestBytes: REQUEST_BYTES, responseBytes });
    await script();
    const endedMs = performance.now();
    if (call < 0) continue;
    samples.push(selectedMs - startedMs);
    floorSamples.push(endedMs - selectedMs);
  }
  const of = (name: string, share: number, atMost?: number) =>
    figure({
      name: `redis: select_candidates, ${count.toLocaleString("en")} hosts, ${name} / bare call + bare Redis script`,
      unit: "ms",
      value: quantile(samples, share),
      floor: quantile(floorSamples, share),
      aim: atMost === undefined ? undefined : { of: "value", atMost },
    });
  return { figures: [of("p50", 0.5), of("p99", 0.99, P99_AIM_MS)], notes: [] };
}
