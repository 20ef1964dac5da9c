// What a checkpoint costs: from an agent's state to a signed header, and both on the disk, on the host's own code and a real data
// directory. Many agents write at the same time, as on a host with thousands, and share the transactions.
//
// The floor signs as many bytes with node:crypto, and puts as many into one bare SQLite table, as many at a time, in one
// transaction with one fsync.

import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DataDirectory, nextCheckpoint } from "@godwit/agent-host/parts";
import { systemClock } from "@godwit/common/clock";
import { tickCost } from "@godwit/common/money";
import { type Checkpoint, digestOf, encodeReceipt, type Receipt, refOf } from "@godwit/lineage";
import { ada, createAgent, grantOf } from "@godwit/lineage/testing";
import { encodeEventLog } from "@godwit/sandbox";
import { figure, median } from "../figures.ts";
import type { Results } from "../program.ts";
import { cpuMs, type PartInput } from "./measuring.ts";

const AGENTS = 2_000;
/** So many write at the same moment. */
const AT_ONCE = 40;
const TICKS = 5n;
const MOST_OF_FLOOR = 2;
const WALLET_RECEIPTS = 256;
const term = { era: 0n, major: 0n };

interface Writer {
  readonly ground: Parameters<typeof nextCheckpoint>[1]["ground"];
  newest: Checkpoint;
  state: Uint8Array;
  wallet: readonly Uint8Array[];
}

export async function measureCheckpoints(
  { rounds, stateBytes }: { readonly rounds: number; readonly stateBytes: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "godwit-bench-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const storage = await DataDirectory.open(join(dir, "data"), {
    clock: systemClock,
    rules: { keepHeaders: 1_000, keepStates: 3 },
  });
  stack.defer(() => storage.close());
  say(`checkpoints: ${AGENTS} agents with ${stateBytes} bytes each`);
  const writers = await newAgents(storage, stateBytes);
  const floor = stack.use(bareFloor(join(dir, "floor.db")));

  const wall = { ours: [] as number[], floor: [] as number[] };
  const cpu = { ours: [] as number[], floor: [] as number[] };
  for (let round = -1; round < rounds; round++) {
    signal.throwIfAborted();
    const ours = await timed(() => writeAll(storage, writers, signal));
    const [first] = writers;
    if (first === undefined) throw new Error("there are no agents");
    const bare = await timed(async () => floor.writeAll(first.newest));
    if (round < 0) continue;
    wall.ours.push(ours.wallMs);
    wall.floor.push(bare.wallMs);
    cpu.ours.push(ours.cpuMs);
    cpu.floor.push(bare.cpuMs);
  }
  const each = (samples: readonly number[]) => (median(samples) * 1_000) / AGENTS;
  const name = `a checkpoint of ${stateBytes} bytes, ${AT_ONCE} at a time / bare Ed25519 + bare grouped fsync`;
  const aim = { of: "ratio", atMost: MOST_OF_FLOOR } as const;
  return {
    figures: [
      figure({ name, unit: "us", value: each(wall.ours), floor: each(wall.floor), aim }),
      figure({ name: "the same, of the processor", unit: "us", value: each(cpu.ours), floor: each(cpu.floor), aim }),
    ],
    notes: [
      `checkpoints: ${(1e6 / each(wall.ours)).toFixed(0)} a second, the floor ${(1e6 / each(wall.floor)).toFixed(0)}`,
    ],
  };
}

async function timed(work: () => Promise<void>): Promise<{ readonly wallMs: number; readonly cpuMs: number }> {
  const [startedMs, cpuStartedMs] = [performance.now(), cpuMs()];
  await work();
  return { wallMs: performance.now() - startedMs, cpuMs: cpuMs() - cpuStartedMs };
}

async function newAgents(storage: DataDirectory, stateBytes: number): Promise<readonly Writer[]> {
  const writers = Array.from({ length: AGENTS }, (_, nonce): Writer => {
    const newest = createAgent(ada, { name: `agent-${nonce}`, nonce: nonce % 256 });
    const grant = grantOf(newest.header.agentId, term, ada);
    const ground = { grant, ...term, base: refOf(newest), origin: "created", rolledBackFromTick: undefined } as const;
    return { ground, newest, state: new Uint8Array(randomBytes(stateBytes)), wallet: [] };
  });
  await Promise.all(
    writers.map(({ newest, ground }) =>
      storage.commit({
        agentId: newest.header.agentId,
        agent: {
          name: "agent",
          moduleDigest: newest.header.moduleDigest,
          manifestDigest: newest.header.manifestDigest,
        },
        checkpoint: newest,
        journal: { phase: "owner", bootId: ada.bootId, ...term, grant: ground.grant },
      }),
    ),
  );
  return writers;
}

async function writeAll(storage: DataDirectory, writers: readonly Writer[], signal: AbortSignal): Promise<void> {
  for (let from = 0; from < writers.length; from += AT_ONCE) {
    signal.throwIfAborted();
    await Promise.all(writers.slice(from, from + AT_ONCE).map((writer) => write(storage, writer)));
  }
}

/** As the supervisor does it after a tick. */
async function write(storage: DataDirectory, writer: Writer): Promise<void> {
  const { newest: previous, ground } = writer;
  const { agentId, moduleDigest, manifestDigest, tick: before, pricePerSecond } = previous.header;
  const elapsedNs = 1_234_567n;
  const { cost, remainder } = tickCost({ elapsedNs, pricePerSecond, remainder: previous.header.remainder });
  const [tick, budget] = [before + TICKS, previous.header.budget - cost];
  const span = { hostId: ada.hostId, firstTick: before + 1n, lastTick: tick };
  const receipt: Receipt = { ...span, elapsedNs, pricePerSecond, cost, budgetAfter: budget };
  writer.state = new Uint8Array(writer.state); // each tick gives a new one
  new DataView(writer.state.buffer).setBigUint64(0, tick);
  const checkpoint = nextCheckpoint(
    {
      agentId,
      moduleDigest,
      manifestDigest,
      tick,
      state: writer.state,
      budget,
      remainder,
      pricePerSecond,
      receipts: [receipt],
      generation: previous.header.generation,
      writtenAt: systemClock.now(),
      eventsDigest: digestOf(encodeEventLog([{ tick, events: new Uint8Array(64) }])),
    },
    { previous, ground, signer: ada.signer },
  );
  writer.wallet = [...writer.wallet, encodeReceipt(receipt)].slice(-WALLET_RECEIPTS);
  await storage.commit({ agentId, checkpoint, receipts: writer.wallet });
  writer.newest = checkpoint;
}

/** What signs and writes as many bytes as a checkpoint has, and knows nothing of checkpoints. */
function bareFloor(path: string): Disposable & { writeAll(like: Checkpoint): void } {
  const { privateKey } = generateKeyPairSync("ed25519");
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  db.exec("CREATE TABLE checkpoints (id INTEGER PRIMARY KEY, header BLOB, signature BLOB, state BLOB)");
  const insert = db.prepare("INSERT INTO checkpoints (header, signature, state) VALUES (?, ?, ?)");
  return {
    writeAll: ({ signed: { payload }, state }) => {
      for (let done = 0; done < AGENTS; done += AT_ONCE) {
        db.exec("BEGIN");
        for (let one = 0; one < AT_ONCE; one++) insert.run(payload, sign(null, payload, privateKey), state);
        db.exec("COMMIT");
      }
    },
    [Symbol.dispose]: () => db.close(),
  };
}
