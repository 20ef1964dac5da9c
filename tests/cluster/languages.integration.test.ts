// Agents of several compilers live on real hosts: they run, are checkpointed, and move to another host and back, all at once.

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { at, counterAgent, countUp, op } from "@godwit/sandbox/testing";
import type { Cluster } from "@godwit/testing";
import { expect, test } from "vitest";
import { budget, clusterOf, doneOf, logOf, move, optionsOf, settlesOnOneOwner, ticksOn, wasmOf } from "./stage.ts";

const written = ["survivor", "survivor-c", "survivor-rust", "survivor-go"];
// The others are always there: npm test builds them. Go is left out, and said to be, where it has no compiler.
const agents = written.filter((name) => name !== "survivor-go" || existsSync(wasmOf(name)));

test(`agents of several compilers (${agents.join(", ")}) and a module of a TinyGo shape run, checkpoint, and move to another host and back without losing a tick`, async () => {
  await using cluster = await clusterOf({ name: "a", price: 1_000n }, { name: "b", price: 2_000n });
  await Promise.all([...agents.map((name) => survivorMoves(cluster, name)), tinyGoMoves(cluster)]);
});

async function survivorMoves(cluster: Cluster, name: string): Promise<void> {
  const { agentId } = await cluster.runAgent(cluster.host("a"), wasmOf(name), await optionsOf(name));
  const { there, back, said, stateBytes } = await thereAndBack(cluster, agentId, name);
  expect(stateBytes, name).toBe(328n);
  // The agent's own word: it has counted every tick that its hosts have, and none twice.
  expect(
    said.filter(({ line }) => line.startsWith("moved before tick")),
    name,
  ).toEqual([
    { tick: there + 1n, line: `moved before tick ${there + 1n}: price 1000 -> 2000 (move 1)` },
    { tick: back + 1n, line: `moved before tick ${back + 1n}: price 2000 -> 1000 (move 2)` },
  ]);
  for (const { tick, line } of said.filter((one) => /^tick \d/.test(one.line))) {
    expect(line, name).toContain(`tick ${tick}: `);
  }
}

async function tinyGoMoves(cluster: Cluster): Promise<void> {
  const wasm = join(cluster.dir, "tinygo-shaped.wasm");
  await writeFile(wasm, tinyGoShaped());
  const manifest = {
    capabilities: { clock: { version: 1 }, rand: { version: 1 } },
    migration_policy: { enabled: true },
  };
  const { agentId } = await cluster.runAgent(cluster.host("a"), wasm, { name: "tinygo-shaped", budget, manifest });
  const { said, stateBytes } = await thereAndBack(cluster, agentId, "a module of a TinyGo shape");
  expect(stateBytes).toBe(8n);
  // It says a letter a tick, by its own count.
  expect(said).toEqual(
    said.map((_, index) => ({ tick: BigInt(index + 1), line: String.fromCharCode(97 + ((index + 1) % 26)) })),
  );
}

/** From a to b and back, as one chain; what it said on both, in order. */
async function thereAndBack(cluster: Cluster, agentId: string, name: string) {
  const [a, b] = [cluster.host("a"), cluster.host("b")];
  await ticksOn(cluster, a, agentId, { after: 2n });
  const there = doneOf(await move(a, agentId, { to: b }));
  await ticksOn(cluster, b, agentId, { after: there.tick + 3n });
  const back = doneOf(await move(b, agentId, { to: a }));
  const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
  expect(owner, name).toBe(a);
  expect({ gaps: lineage.gaps, orphans: lineage.orphans }, name).toEqual({ gaps: 0, orphans: [] });
  expect(
    lineage.owners.map(({ hostId, origin }) => ({ hostId, origin })),
    name,
  ).toEqual([
    { hostId: a.hostId, origin: "created" },
    { hostId: b.hostId, origin: "migrated" },
    { hostId: a.hostId, origin: "migrated" },
  ]);
  // Every tick is run again, here and before each move, and comes out the same.
  const verified = await cluster.waitFor(
    async (signal) => {
      const seen = await a.agent(agentId, signal);
      return seen !== undefined && seen.verifiedTick > back.tick ? seen : undefined;
    },
    { what: `ticks of ${name} are run again on a` },
  );
  expect(verified.divergences, name).toBe(0);

  const lines = [...(await logOf(a, agentId)), ...(await logOf(b, agentId))]
    .filter(({ origin }) => origin === "agent")
    .sort((one, other) => Number(one.tick - other.tick));
  const said = lines.map(({ tick, line }) => ({ tick, line }));
  return { there: there.tick, back: back.tick, said, stateBytes: status.stateBytes };
}

/** What a compiler for WASI makes: a program that ends, with a tick without a result that looks at the clock, draws, and prints. */
function tinyGoShaped(): Uint8Array {
  const wasi = (name: string, params: readonly ("i32" | "i64")[], results: readonly "i32"[] = ["i32"]) => ({
    module: "wasi_snapshot_preview1",
    name,
    params,
    results,
  });
  const i32 = "i32";
  const [write, time, random, exit] = [0, 1, 2, 3];
  const drop = [0x1a];
  const vector = at.scratch + 8;
  const text = at.scratch + 64;
  const letter = [...op.const(at.count), 0x28, 0x02, 0x00, ...op.const(26), 0x70, ...op.const(97), 0x6a];
  return counterAgent({
    imports: [
      wasi("fd_write", [i32, i32, i32, i32]),
      wasi("clock_time_get", [i32, "i64", i32]),
      wasi("random_get", [i32, i32]),
      wasi("proc_exit", [i32], []),
    ],
    parts: {
      _start: { params: [], results: [], code: [...op.const(0), ...op.call(exit)] },
      agent_tick: {
        results: [],
        code: [
          ...[...op.const(1), ...op.const64(0), ...op.const(at.scratch), ...op.call(time), ...drop],
          ...[...op.const(at.scratch), ...op.const(8), ...op.call(random), ...drop],
          ...countUp,
          ...op.store32(vector, op.const(text)),
          ...op.store32(vector + 4, op.const(2)),
          ...op.store32(text, [...letter, ...op.const(0x0a00), 0x72]), // the letter, and the end of the line
          ...[...op.const(1), ...op.const(vector), ...op.const(1), ...op.const(at.scratch), ...op.call(write), ...drop],
        ],
      },
    },
  });
}
