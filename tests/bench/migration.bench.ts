// How long an agent that moves cannot tick, how long the whole move takes, and what it sends meanwhile.
//
// A registry (embedded store), pricing and three hosts, each a process, all on this machine. The agent is a ballast: it
// ticks every 10 ms and carries a state of 4 KiB, 64 KiB or 1 MiB that does not compress.
//
// blackout  As the source's clock has it: from the moment at which the last tick had ended and the next could not begin
//           any more, to the arrival of the target's STARTED. The final checkpoint is in it. The target begins its first
//           tick before it says STARTED, so end of last tick to start of first tick is no longer than this and the part of
//           the 10 ms between two ticks in which the agent would have waited anyway (--tick-every 0: none of it).
// total     From the source's first step to the end of the migration there.
// bytes     All frames that the source sends from the freeze on.
// cold      The target has never seen the module: its bytes end in a section of random data, 188 KiB.
//
// The floor of a move is one chain of bare things, measured after every move: the state written and synced (the final
// checkpoint), a bare grpc-js call (begin), the state over loopback TCP and its acknowledgement (HANDOFF), written and
// synced again (staged), a bare grpc-js call (claim). The floor of the bytes is the state.

import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "@godwit/common/clock";
import { option } from "@godwit/common/config";
import { Cluster, type HostNode } from "@godwit/testing";
import { type Figure, figure, median, quantile } from "./figures.ts";
import { Floors } from "./floors/floors.ts";
import { checkLineage } from "./migration/check-lineage.ts";
import { type Move, migrate, type Phase, phases } from "./migration/move.ts";
import { type Results, type Run, runBench } from "./program.ts";
import { table } from "./table.ts";

const options = {
  moves: option.integer({ fallback: 60, min: 1, max: 10_000, help: "Warm moves for each size of state." }),
  coldMoves: option.integer({ fallback: 15, min: 0, max: 1_000, help: "Cold moves for each size of state." }),
  sizes: option.list({ fallback: ["4k", "64k", "1m"], help: "Of 4k, 64k, 1m.", pattern: /^(4k|64k|1m)$/ }),
  tickEveryMs: option.duration({ fallback: 10, min: 0, max: 1_000, help: "Between two ticks of the agent." }),
} as const;

interface Size {
  readonly name: string;
  readonly bytes: number;
  readonly title: string;
  /** Milliseconds, warm. */
  readonly aims?: { readonly p50: number; readonly p99: number };
}

const SIZES: readonly Size[] = [
  { name: "4k", bytes: 4_096, title: "4 KiB", aims: { p50: 6, p99: 20 } },
  { name: "64k", bytes: 65_536, title: "64 KiB" },
  { name: "1m", bytes: 1_048_576, title: "1 MiB", aims: { p50: 20, p99: 60 } },
];
const WARM_UP_MOVES = 9;
const COLD_SECTION_BYTES = 188 * 1_024;
const BUDGET = 1_000_000_000_000n;
/** Frames besides the state may take this much, and this share of it. */
const BYTES_AIM = { share: 1.05, plus: 4_096 };

/** What was measured of one size in one temperature. */
interface Series {
  readonly size: Size;
  readonly title: string;
  readonly moves: readonly Move[];
  readonly floorsMs: readonly number[];
}

async function run({ options: { moves, coldMoves, sizes, tickEveryMs }, signal, say }: Run<typeof options>) {
  await using stack = new AsyncDisposableStack();
  say("starting a registry, pricing and three hosts");
  const cluster = stack.use(await Cluster.create({ env: { GODWIT_MORE_WORK_EVERY: `${tickEveryMs}ms` } }));
  await cluster.startRegistry();
  await cluster.startPricing();
  for (const name of ["alaska", "hawaii", "fiji"]) {
    signal.throwIfAborted();
    await cluster.startHost({ name });
  }
  const floors = stack.use(await Floors.start(cluster.dir, signal));
  const bench = new MigrationBench({ cluster, floors, signal, say });
  const series: Series[] = [];
  for (const size of SIZES.filter(({ name }) => sizes.includes(name))) {
    series.push(await bench.warm(size, moves));
    if (coldMoves > 0) series.push(await bench.cold(size, coldMoves));
  }
  return results(series, bench.checked);
}

interface BenchParts {
  readonly cluster: Cluster;
  readonly floors: Floors;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

class MigrationBench {
  readonly #parts: BenchParts;
  checked = 0;

  constructor(parts: BenchParts) {
    this.#parts = parts;
  }

  /** One agent round and round, to hosts that all have run it. */
  async warm(size: Size, count: number): Promise<Series> {
    const { cluster, say } = this.#parts;
    const { hosts } = cluster;
    const [first] = hosts;
    if (first === undefined) throw new Error("there is no host");
    say(`${size.title} warm: ${count} moves`);
    const { agentId } = await cluster.runAgent(first, moduleOf(size), { budget: BUDGET, name: `warm-${size.name}` });
    const moves: Move[] = [];
    const floorsMs: number[] = [];
    for (let at = 0; at < WARM_UP_MOVES + count; at++) {
      const move = await this.#move(agentId, hosts[at % hosts.length], hosts[(at + 1) % hosts.length]);
      const floorMs = await this.#floor(size);
      if (at < WARM_UP_MOVES) continue;
      moves.push(move);
      floorsMs.push(floorMs);
      if (moves.length % 50 === 0) say(`${size.title} warm: ${moves.length} of ${count}`);
    }
    await this.#finish(agentId, hosts[(WARM_UP_MOVES + count) % hosts.length]);
    return { size, title: `${size.title} warm`, moves, floorsMs };
  }

  /** A new module for each move, to the host that has no replica of its agent either. */
  async cold(size: Size, count: number): Promise<Series> {
    const { cluster, say } = this.#parts;
    const { hosts } = cluster;
    say(`${size.title} cold: ${count} moves`);
    const code = await readFile(moduleOf(size));
    const moves: Move[] = [];
    const floorsMs: number[] = [];
    for (let at = 0; moves.length < count; at++) {
      if (at >= 2 * count + 10) throw new Error(`only ${moves.length} of ${at} targets did not know the module`);
      const file = join(cluster.dir, `cold-${size.name}-${at}.wasm`);
      await writeFile(file, Buffer.concat([code, customSection(randomBytes(COLD_SECTION_BYTES))]));
      const source = hosts[at % hosts.length] as HostNode;
      const { agentId } = await source.runAgent(
        file,
        { budget: BUDGET, name: `cold-${size.name}` },
        this.#parts.signal,
      );
      const target = await this.#withoutReplica(agentId, source);
      const move = await this.#move(agentId, source, target);
      const floorMs = await this.#floor(size);
      await this.#finish(agentId, target);
      if (!move.sentModule) continue;
      moves.push(move);
      floorsMs.push(floorMs);
    }
    return { size, title: `${size.title} cold`, moves, floorsMs };
  }

  /** After a pause, so that every move meets another moment between two ticks; until the agent ticks on the target. */
  async #move(agentId: string, source: HostNode | undefined, target: HostNode | undefined): Promise<Move> {
    const { cluster, signal } = this.#parts;
    if (source === undefined || target === undefined) throw new Error("there are no two hosts");
    await systemClock.sleep(PAUSE_MS + (systemClock.monotonicMs() % PAUSE_SPREAD_MS), signal);
    const move = await migrate(source, { agentId, targetHostId: target.hostId }, signal);
    await cluster.waitFor(async () => ((await target.agent(agentId, signal))?.tick ?? 0n) > move.tick, {
      what: `agent ${agentId} ticks on ${target.name}`,
      everyMs: 5,
      signal,
    });
    return move;
  }

  /** The last word about an agent: every tick is there once. */
  async #finish(agentId: string, host: HostNode | undefined): Promise<void> {
    const { cluster, signal } = this.#parts;
    if (host === undefined) throw new Error("there is no host");
    await checkLineage({ host, registry: cluster.registry, agentId, signal });
    await host.host.stopAgent({ agentId, delete: true }, { signal });
    this.checked++;
  }

  async #withoutReplica(agentId: string, source: HostNode): Promise<HostNode> {
    const { cluster, signal } = this.#parts;
    const others = cluster.hosts.filter((host) => host !== source);
    return await cluster.waitFor(
      async () => {
        const held = await Promise.all(others.map((host) => host.agent(agentId, signal)));
        return held.some((agent) => agent !== undefined) && others[held.indexOf(undefined)];
      },
      { what: `a replica of agent ${agentId}`, signal },
    );
  }

  async #floor({ bytes }: Size): Promise<number> {
    const { floors } = this.#parts;
    const state = randomBytes(bytes);
    const call = { requestBytes: 1_500, responseBytes: 1_500 };
    const startedMs = performance.now();
    floors.sync(state);
    await floors.call(call);
    await floors.send(state);
    floors.sync(state);
    await floors.call(call);
    return performance.now() - startedMs;
  }
}

const PAUSE_MS = 40;
const PAUSE_SPREAD_MS = 10;

function moduleOf({ name }: Size): string {
  return fileURLToPath(new URL(`../../agents/ballast/build/ballast-${name}.wasm`, import.meta.url));
}

/** Of WebAssembly: id 0, its length, a name, bytes that mean nothing. */
function customSection(bytes: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode("bench");
  const content = [name.length, ...name];
  return Buffer.concat([Buffer.of(0), leb128(content.length + bytes.length), Buffer.from(content), bytes]);
}

function leb128(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest & 127) | 128);
  }
}

function results(series: readonly Series[], checked: number): Results {
  const shown: readonly Phase[] = phases;
  const rows = series.map(({ title, moves }) => [
    title,
    ...shown.map((phase) => median(moves.map(({ phaseMs }) => phaseMs[phase])).toFixed(2)),
  ]);
  return {
    figures: series.flatMap((one) => figuresOf(one, series)),
    notes: [
      "where the time goes, in ms (medians; from frozen on it is blackout):",
      ...table([["", ...shown], ...rows]),
      "",
      `${checked} lineages verified: no tick lost, none repeated`,
    ],
  };
}

function figuresOf({ size, title, moves, floorsMs }: Series, all: readonly Series[]): Figure[] {
  const warm = all.find((other) => other.size === size && other.title.endsWith("warm"));
  const isCold = warm?.title !== title;
  const aimMs = (share: 0.5 | 0.99): Figure["aim"] => {
    if (isCold && warm === undefined) return undefined;
    // A cold module: no longer a blackout than a warm one, give or take what two runs of the same differ by.
    const atMost = isCold
      ? 1.15 *
        quantile(
          (warm as Series).moves.map(({ blackoutMs }) => blackoutMs),
          share,
        )
      : undefined;
    const limit = atMost ?? (share === 0.5 ? size.aims?.p50 : size.aims?.p99);
    return limit === undefined ? undefined : { of: "value", atMost: Math.round(limit * 10) / 10 };
  };
  const ms = (name: string, samples: readonly number[], share: 0.5 | 0.99, aim?: Figure["aim"]): Figure =>
    figure({
      name: `${title}: ${name} p${share * 100}`,
      unit: "ms",
      value: quantile(samples, share),
      floor: quantile(floorsMs, share),
      aim,
    });
  const blackouts = moves.map(({ blackoutMs }) => blackoutMs);
  const totals = moves.map(({ totalMs }) => totalMs);
  return [
    ms("blackout", blackouts, 0.5, aimMs(0.5)),
    ms("blackout", blackouts, 0.99, isCold ? undefined : aimMs(0.99)),
    ms("total", totals, 0.5),
    ms("total", totals, 0.99),
    figure({
      name: `${title}: bytes after the freeze, most`,
      unit: "bytes",
      value: Math.max(...moves.map(({ bytesAfterFreeze }) => bytesAfterFreeze)),
      floor: size.bytes,
      aim: { of: "value", atMost: Math.floor(size.bytes * BYTES_AIM.share) + BYTES_AIM.plus },
    }),
  ];
}

await runBench({
  name: "migration",
  summary: "Measures blackout, total time and bytes of moves between three hosts on this machine.",
  options,
  run,
});
