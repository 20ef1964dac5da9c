// The agents of this repository, built and run for real: they are what the sandbox is for.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Clock } from "@godwit/common/clock";
import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AgentInstance, TickInput, TickResult } from "../src/agent.ts";
import { declaredCapabilities, missingCapabilities, parseManifest } from "../src/manifest.ts";
import { defaultSandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";

const agents = new URL("../../../agents/", import.meta.url);
const never = new AbortController().signal;
const second = 1_000;

/** Real timers, but the wall clock stands where the test puts it. */
class SetClock implements Clock {
  wallMs = Date.UTC(2024, 0, 1);
  now(): Date {
    return new Date(this.wallMs);
  }
  monotonicMs(): number {
    return systemClock.monotonicMs();
  }
  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }
}

const clock = new SetClock();
// A tick that is quick may still stand still for a while, on a machine that has others to run.
const sandbox = new Sandbox({ clock }, { ...defaultSandboxRules, tickTimeoutMs: 20_000, callTimeoutMs: 20_000 });
let built: string;

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), "godwit-agents-"));
});

afterAll(async () => {
  await sandbox.stop();
  await rm(built, { recursive: true, force: true });
});

/** Compiles in a process of its own: the compiler takes seconds and would stall this thread's timers. */
async function build(folder: string, args: readonly string[], name: string): Promise<Uint8Array> {
  const cwd = new URL(`${folder}/`, agents);
  const asc = new URL("node_modules/assemblyscript/bin/asc.js", cwd);
  const file = join(built, `${name}.wasm`);
  await promisify(execFile)(process.execPath, [asc.pathname, ...args, "--outFile", file], { cwd });
  return readFile(file);
}

async function load(
  bytes: Uint8Array,
  manifestFile: string,
  { state, memoryLimitBytes = 64 << 20 }: { state?: Uint8Array; memoryLimitBytes?: number } = {},
): Promise<AgentInstance> {
  const manifest = parseManifest(await readFile(new URL(manifestFile, agents)));
  const capabilities = declaredCapabilities(manifest);
  expect(missingCapabilities(manifest, capabilities)).toEqual([]);
  const module = await sandbox.compile(bytes, capabilities);
  return sandbox.start({ agentId: manifestFile, module, capabilities, state, memoryLimitBytes, signal: never });
}

async function tick(agent: AgentInstance, pricePerSecond = 1_000n): Promise<Extract<TickResult, { kind: "ok" }>> {
  const input: TickInput = { balanceMicrocents: 0n, pricePerSecond, receipts: [] };
  const result = await agent.tick(input, never);
  if (result.kind !== "ok") throw new Error(`${result.reason}: ${result.message}`);
  return result;
}

function fields(state: Uint8Array) {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const places = Array.from({ length: view.getUint32(64, true) }, (_, index) => [
    view.getBigUint64(72 + index * 16, true),
    view.getBigInt64(80 + index * 16, true),
  ]);
  return {
    ticks: view.getBigUint64(8, true),
    bornNs: view.getBigInt64(16, true),
    gaps: view.getBigUint64(32, true),
    longestGapNs: view.getBigInt64(40, true),
    moves: view.getBigUint64(48, true),
    mark: view.getBigUint64(56, true),
    places,
  };
}

describe("survivor", () => {
  const manifest = "survivor/survivor.manifest.json";
  let bytes: Uint8Array;

  beforeAll(async () => {
    bytes = await build("survivor", ["assembly/survivor.ts", "--target", "release"], "survivor");
  }, 120_000);

  test("remembers its birth, its places and its gaps over a move", async () => {
    const here = await load(bytes, manifest);
    const bornMs = clock.wallMs;
    const first = await tick(here);
    expect(first.logs).toHaveLength(1);
    expect(first.logs[0]).toContain("born at 2024-01-01T00:00:00.");
    clock.wallMs += second;
    const last = await tick(here);
    expect(last.logs).toEqual([]);
    await here.stop();

    clock.wallMs += 5 * second;
    const there = await load(bytes, manifest, { state: last.state });
    const arrived = await tick(there, 2_500n);
    expect(arrived.logs[0]).toMatch(/^gap of 5\.\d s before tick 3 \(number 1, longest 5\.\d s\)$/);
    expect(arrived.logs[1]).toBe("moved before tick 3: price 1000 -> 2500 (move 1)");
    const { mark, ...state } = fields(arrived.state);
    expect(mark).toBe(fields(first.state).mark);
    expect(mark).not.toBe(0n);
    expect(Number(state.bornNs / 1_000_000n) - bornMs).toBeLessThan(second);
    expect(state).toMatchObject({ ticks: 3n, gaps: 1n, moves: 1n });
    expect(state.places).toEqual([
      [1n, 1_000n],
      [3n, 2_500n],
    ]);
    await there.stop();
  });

  test("keeps the newest 16 places, and says at each tenth tick how it is", async () => {
    const agent = await load(bytes, manifest);
    const said: string[] = [];
    let state = agent.initialState;
    for (let price = 1n; price <= 40n; price++) {
      clock.wallMs += second;
      const result = await tick(agent, price);
      state = result.state;
      said.push(...result.logs);
    }
    const { places, moves, ticks } = fields(state);
    expect({ moves, ticks, count: places.length }).toEqual({ moves: 39n, ticks: 40n, count: 16 });
    expect(places[0]).toEqual([25n, 25n]);
    expect(places[15]).toEqual([40n, 40n]);
    expect(said.filter((line) => line.startsWith("tick "))).toHaveLength(4);
    expect(said.at(-1)).toMatch(/^tick 40: 39\.\d s old, 39 moves, 0 gaps$/);
    await agent.stop();
  });

  test("does not take more and more memory for what it says", async () => {
    const agent = await load(bytes, manifest, { memoryLimitBytes: 2 * 65_536 });
    for (let price = 1n; price <= 3_000n; price++) await tick(agent, price);
    await agent.stop();
  });

  test.each([
    [
      "of another version",
      (state: DataView) => state.setUint32(4, 9, true),
      "version 9, this survivor reads version 1",
    ],
    ["of another agent", (state: DataView) => state.setUint32(0, 9, true), "no state of a survivor"],
    ["with too many places", (state: DataView) => state.setUint32(64, 17, true), "more places than it can hold"],
  ])("refuses a state %s, and says why", async (_, change, message) => {
    const agent = await load(bytes, manifest);
    const { state } = await tick(agent);
    const changed = state.slice();
    change(new DataView(changed.buffer));
    const error: unknown = await load(bytes, manifest, { state: changed }).catch((reason: unknown) => reason);
    expect(isFault(error, "STATE_INVALID")).toBe(true);
    expect(String(error)).toContain(message);
    await agent.stop();
  });
});

describe("ballast", () => {
  test.each([4_096, 1_048_576])(
    "carries %i bytes of state, changes few of them a tick, and wants to go on",
    async (size) => {
      const args = [
        "assembly/ballast.ts",
        "--runtime",
        "minimal",
        "--bindings",
        "none",
        "-O3",
        "--maximumMemory",
        "1024",
      ];
      const bytes = await build("ballast", [...args, "--use", "abort=", "--use", `BALLAST_BYTES=${size}`], `${size}`);
      const agent = await load(bytes, "ballast/ballast.manifest.json");
      const first = await tick(agent);
      const next = await tick(agent);
      expect(next.moreWork).toBe(true);
      expect(next.state).toHaveLength(size);
      const changed = next.state.filter((byte, index) => byte !== first.state[index]).length;
      expect(changed).toBeGreaterThan(0);
      expect(changed).toBeLessThanOrEqual(16);

      await agent.restore(next.state);
      const again = await tick(agent);
      expect(new DataView(again.state.buffer).getBigUint64(8, true)).toBe(3n);
      await agent.stop();
    },
    120_000,
  );
});
