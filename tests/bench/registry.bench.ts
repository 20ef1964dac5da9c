// What the registry's answers cost, beside what they cannot do without.
//
// The command is `revert_handoff` of an agent that was not begun to be handed over: verified, decided, written with its
// history entry, and repeatable. Its floor is one bare grpc-js call to another process with as many bytes, plus one bare
// Redis script (EVALSHA, one SET of a record's size) on the very Redis that the registry uses. A renewal with many agents
// has the renewal with one agent as its floor: the two must cost the same.
// Everything is measured in turns, round by round, one call at a time; a figure is the median of the rounds' medians.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { toBinary } from "@bufbuild/protobuf";
import { option } from "@godwit/common/config";
import { type AuthorityRecord, GetAgentResponseSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { Cluster, type RegistryNode, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { BenchHost } from "./bench-host.ts";
import { type Figure, figure, median } from "./figures.ts";
import { Floors } from "./floors/floors.ts";
import { type Results, type Run, runBench } from "./program.ts";

const options = {
  rounds: option.integer({ fallback: 15, min: 1, max: 1_000, help: "Rounds; everything is measured in each." }),
  calls: option.integer({ fallback: 200, min: 1, max: 100_000, help: "Calls of each kind in a round." }),
  agents: option.integer({ fallback: 10_000, min: 1, max: 100_000, help: "Agents of the session that owns many." }),
} as const;

/** What a command header takes on the wire, about. */
const REQUEST_BYTES = 330;
const WARM_UP_CALLS = 300;
/** While agents are made nobody renews. */
const registryEnv = { GODWIT_LEASE_DURATION: "600s", GODWIT_RENEW_EVERY: "60s" };
const STORES = ["embedded", "redis"] as const;

type Work = () => Promise<unknown>;

await runBench({
  name: "registry",
  summary:
    "Measures one authority command and the renewal of a session on both stores, beside bare gRPC and bare Redis.",
  options,
  run,
});

async function run({ options: { rounds, calls, agents }, signal, say }: Run<typeof options>): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  say("starting Redis, two registries and the floor");
  const redis = stack.use(await startRedis({ aof: true, appendfsync: "everysec" }));
  const clusters = {
    embedded: stack.use(await Cluster.create()),
    redis: stack.use(await Cluster.create({ redisUrl: `${redis.url}/1` })),
  };
  const floors = stack.use(await Floors.start(clusters.embedded.dir, signal));

  const works = new Map<string, Work>();
  let recordBytes = 0;
  let answerBytes = 0;
  for (const store of STORES) {
    const registry = await clusters[store].startRegistry({ env: registryEnv });
    say(`${store}: making ${agents} agents`);
    const { command, read, renewOne, renewMany, record } = await prepare(registry, agents, signal, (made) =>
      say(`${store}: ${made} agents`),
    );
    works.set(`${store}: command`, command);
    works.set(`${store}: read`, read);
    works.set(`${store}: renew 1`, renewOne);
    works.set(`${store}: renew many`, renewMany);
    recordBytes = toBinary(GetAgentResponseSchema, {
      ...(await registry.authority.getAgent({ agentId: record.agentId })),
      holders: [],
    }).length;
    answerBytes = recordBytes + 40;
  }
  works.set("bare call", () => floors.call({ requestBytes: REQUEST_BYTES, responseBytes: answerBytes }));
  works.set("bare script", bareScript(stack, `${redis.url}/2`, recordBytes));
  works.set("bare commit", bareCommit(stack, join(clusters.embedded.dir, "floor.db"), recordBytes));

  say("warming up");
  for (const work of works.values()) await timed(work, WARM_UP_CALLS, signal);
  const medians = new Map<string, number[]>([...works.keys()].map((name) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const [name, work] of works) medians.get(name)?.push(median(await timed(work, calls, signal)));
    if (round % 5 === 0 || round === rounds) say(`round ${round} of ${rounds}`);
  }
  return results((name) => median(medians.get(name) ?? []), agents);
}

async function prepare(registry: RegistryNode, agents: number, signal: AbortSignal, onMade: (made: number) => void) {
  const [one, many] = [await BenchHost.open(registry), await BenchHost.open(registry)];
  let record: AuthorityRecord = await one.acquire();
  await many.acquireMany(agents, signal, onMade);
  const { agentId } = record;
  return {
    record,
    command: async () => {
      record = await one.revert(record);
    },
    read: () => registry.authority.getAgent({ agentId }),
    renewOne: () => one.renew(),
    renewMany: () => many.renew(),
  };
}

function bareScript(stack: AsyncDisposableStack, url: string, bytes: number): Work {
  const redis = stack.adopt(new Redis(url), (client) => client.disconnect());
  redis.defineCommand("bareSet", { numberOfKeys: 1, lua: 'redis.call("SET", KEYS[1], ARGV[1]) return { "DONE" }' });
  const scripts = redis as unknown as { bareSet(key: string, value: Buffer): Promise<unknown> };
  const value = Buffer.alloc(bytes, 7);
  return () => scripts.bareSet("floor", value);
}

/** As durable as the embedded store: WAL, synced at each commit. */
function bareCommit(stack: AsyncDisposableStack, path: string, bytes: number): Work {
  const db = stack.adopt(new DatabaseSync(path), (open) => open.close());
  db.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE floor (id INTEGER PRIMARY KEY, value BLOB)",
  );
  const put = db.prepare("INSERT OR REPLACE INTO floor VALUES (1, ?)");
  const value = new Uint8Array(bytes).fill(7);
  return async () => put.run(value);
}

/** Milliseconds of each call. */
async function timed(work: Work, calls: number, signal: AbortSignal): Promise<number[]> {
  const samples: number[] = [];
  for (let call = 0; call < calls; call++) {
    signal.throwIfAborted();
    const startedMs = performance.now();
    await work();
    samples.push(performance.now() - startedMs);
  }
  return samples;
}

function results(of: (name: string) => number, agents: number): Results {
  const call = of("bare call");
  const floor = call + of("bare script");
  const ms = (name: string, value: number, floorMs: number, atMost?: number): Figure => {
    const aim = atMost === undefined ? undefined : ({ of: "ratio", atMost } as const);
    return figure({ name, unit: "ms", value, floor: floorMs, aim });
  };
  const figures = STORES.flatMap((store) => [
    ms(`${store}: revert_handoff / bare call + bare Redis script`, of(`${store}: command`), floor, 1.5),
    ...(store === "embedded"
      ? [
          ms(
            "embedded: revert_handoff / bare call + bare SQLite commit",
            of("embedded: command"),
            call + of("bare commit"),
          ),
        ]
      : []),
    ms(`${store}: get_agent / bare call`, of(`${store}: read`), call),
    ms(`${store}: renew_session, 1 agent / bare call + bare Redis script`, of(`${store}: renew 1`), floor),
    ms(
      `${store}: renew_session, ${agents.toLocaleString("en")} agents / 1 agent`,
      of(`${store}: renew many`),
      of(`${store}: renew 1`),
      1.1,
    ),
  ]);
  const notes = ["bare call", "bare script", "bare commit"].map((name) => `${name}: ${of(name).toFixed(3)} ms`);
  return { figures, notes };
}
