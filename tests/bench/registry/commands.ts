// One authority command, a read and the renewal of a session on both stores.
//
// The command is `revert_handoff` of an agent that was not begun to be handed over: verified, decided, written with its
// history entry, and repeatable. Its floor is one bare grpc-js call to another process with as many bytes, plus one bare
// Redis script (EVALSHA, one SET of a record's size) on the very Redis that the registry uses, each by itself; beside it
// stands the two as one chain, in which the script's process and the answer have to be waited for in between. A renewal with many agents
// has the renewal with one agent as its floor: the two must cost the same.
// Everything is measured in turns, round by round, one call at a time; a figure is the median of the rounds' medians.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { toBinary } from "@bufbuild/protobuf";
import { type AuthorityRecord, GetAgentResponseSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { Cluster, type RegistryNode, startRedis } from "@godwit/testing";
import { Redis } from "ioredis";
import { BenchHost } from "../bench-host.ts";
import { type Figure, figure, median } from "../figures.ts";
import { Floors } from "../floors/floors.ts";
import type { Results } from "../program.ts";
import { bareScript, type PartInput, REQUEST_BYTES, registryEnv, timed, type Work } from "./measuring.ts";

const WARM_UP_CALLS = 300;
const STORES = ["embedded", "redis"] as const;

export async function measureCommands(
  { rounds, calls, agents }: { readonly rounds: number; readonly calls: number; readonly agents: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  say("starting Redis, two registries and the floor");
  const redis = stack.use(await startRedis({ aof: true, appendfsync: "everysec" }));
  const clusters = {
    embedded: stack.use(await Cluster.create()),
    redis: stack.use(await Cluster.create({ redisUrl: `${redis.url}/1` })),
  };
  const floors = stack.use(await Floors.start(clusters.embedded.dir, signal, `${redis.url}/3`));

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
  works.set("bare stored call", () => floors.storedCall({ requestBytes: REQUEST_BYTES, responseBytes: answerBytes }));
  const floorRedis = stack.adopt(new Redis(`${redis.url}/2`), (client) => client.disconnect());
  works.set("bare script", bareScript(floorRedis, { bytes: recordBytes }));
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
    ...(store === "redis"
      ? [
          ms(
            "redis: revert_handoff / bare call in which the other process runs the bare Redis script",
            of("redis: command"),
            of("bare stored call"),
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
  const notes = ["bare call", "bare script", "bare stored call", "bare commit"].map(
    (name) => `${name}: ${of(name).toFixed(3)} ms`,
  );
  return { figures, notes };
}
