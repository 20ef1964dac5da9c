// One agent from four compilers: they have one state and say the same, so what one host calls on them can be compared to the byte.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Clock } from "@godwit/common/clock";
import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { afterAll, describe, expect, test } from "vitest";
import type { AgentInstance } from "../src/agent.ts";
import { compileWasmNow } from "../src/engine.ts";
import { declaredCapabilities, missingCapabilities, parseManifest } from "../src/manifest.ts";
import { InlineThreads } from "../src/pool/inline-threads.ts";
import { defaultSandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
const never = new AbortController().signal;

// Brings the compilers if it may; says which agents were left out.
await promisify(execFile)(process.execPath, ["tools/build-agents.mjs"], { cwd: repository });
const built = (name: string) => `${repository}agents/${name}/build/${name}`;
const agents = ["survivor", "survivor-c", "survivor-rust", "survivor-go"].filter(
  (name) => name !== "survivor-go" || existsSync(`${built(name)}.wasm`),
);

/** Stands where the test puts it, but for time limits. */
class SetClock implements Clock {
  wallMs = Date.UTC(2024, 1, 29, 23, 59, 58, 7);
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

// A tick that is quick may still stand still for a while, on a machine that has others to run.
const patience = { ...defaultSandboxRules, tickTimeoutMs: 20_000, callTimeoutMs: 20_000 };
const real = new Sandbox({ clock: systemClock }, patience);
afterAll(() => real.stop());

/** Every agent sees the same times and the same chance. */
function still(clock: Clock): Sandbox {
  const machine = { nowNs: () => 0n, fillRandom: (target: Uint8Array) => void target.fill(0xa5) };
  const threads = (limits: ConstructorParameters<typeof InlineThreads>[1]) =>
    new InlineThreads({ clock, machine, answersAfterMs: () => 0 }, limits);
  return new Sandbox({ clock, threads, compile: async (bytes) => compileWasmNow(bytes) }, patience);
}

async function load(sandbox: Sandbox, name: string, state?: Uint8Array): Promise<AgentInstance> {
  const manifest = parseManifest(await readFile(`${built(name)}.manifest.json`));
  const capabilities = declaredCapabilities(manifest);
  expect(missingCapabilities(manifest, capabilities)).toEqual([]);
  const module = await sandbox.compile(await readFile(`${built(name)}.wasm`), capabilities);
  return sandbox.start({ agentId: name, module, capabilities, state, signal: never });
}

async function tick(agent: AgentInstance, pricePerSecond: bigint) {
  const result = await agent.tick({ balanceMicrocents: 0n, pricePerSecond, receipts: [] }, never);
  if (result.kind !== "ok") throw new Error(`${result.reason}: ${result.message}`);
  return result;
}

describe.each(agents)("%s", (name) => {
  test("runs in a worker, and goes on in another instance from what its checkpoint says", async () => {
    const agent = await load(real, name);
    const { state, logs } = await tick(agent, 1_000n);
    expect(logs).toEqual([expect.stringMatching(/^born at 20\d\d-.*Z on a host of price 1000; mark [0-9a-f]+$/)]);
    const next = await tick(agent, 1_000n);

    const other = await load(real, name, state);
    expect(other.initialState).toEqual(state);
    const again = await tick(other, 1_000n);
    // It may have been away for a moment; all else but the time of the last tick is as if it had never moved.
    const rest = (bytes: Uint8Array) => [...bytes.subarray(0, 24), ...bytes.subarray(32)];
    expect(rest(again.state)).toEqual(rest(next.state));
    await Promise.all([agent.stop(), other.stop()]);
  });

  test("does the same again when its ticks are run again", async () => {
    const agent = await load(real, name);
    const ticks: { readonly tick: bigint; readonly events: Uint8Array }[] = [];
    let { initialState: state } = agent;
    for (let number = 1n; number <= 12n; number++) {
      const result = await tick(agent, 1_000n);
      ticks.push({ tick: number, events: result.events });
      state = result.state;
    }
    expect(await agent.replay({ state: agent.initialState, ticks }, never)).toMatchObject({ kind: "replayed", state });
    await agent.stop();
  });
});

// What survivor itself refuses, agents.integration.test.ts has.
describe.each(agents.filter((name) => name !== "survivor"))("%s", (name) => {
  test.each([
    ["of another agent", (state: DataView) => state.setUint32(0, 9, true), "this is no state of a survivor"],
    [
      "of another version",
      (state: DataView) => state.setUint32(4, 9, true),
      "the state has version 9, this survivor reads version 1",
    ],
    ["with too many places", (state: DataView) => state.setUint32(64, 17, true), "names more places than it can hold"],
    [
      "that is cut off",
      (state: DataView) => new Uint8Array(state.buffer, 0, 300),
      "the state has 300 bytes, version 1 has 328",
    ],
  ])("refuses a state %s, and says why", async (_, change, message) => {
    const agent = await load(real, name);
    const changed = (await tick(agent, 1_000n)).state.slice();
    const cut = change(new DataView(changed.buffer));
    const error: unknown = await load(real, name, cut ?? changed).catch((reason: unknown) => reason);
    expect(isFault(error, "STATE_INVALID")).toBe(true);
    expect(String(error)).toContain(message);
    await agent.stop();
  });
});

describe.each(agents)("%s", (name) => {
  test("goes on from a state that names no place: the next one is a move from a price of 0", async () => {
    const agent = await load(real, name);
    const state = (await tick(agent, 1_000n)).state.slice();
    new DataView(state.buffer).setUint32(64, 0, true);
    const other = await load(real, name, state);
    const { logs } = await tick(other, 1_000n);
    expect(logs.at(-1)).toBe("moved before tick 2: price 0 -> 1000 (move 1)");
    await Promise.all([agent.stop(), other.stop()]);
  });
});

test("agents of all compilers say the same and have the same state, byte for byte, and each goes on from another's", async () => {
  const clock = new SetClock();
  const sandbox = still(clock);
  const loadAll = (states: readonly (Uint8Array | undefined)[]) =>
    Promise.all(agents.map((name, index) => load(sandbox, name, states[index])));
  let running = await loadAll([]);
  const said: string[] = [];
  for (let number = 1n; number <= 40n; number++) {
    clock.wallMs += number % 7n === 0n ? 3_400 : 1_000;
    const price = number * number * 1_000n;
    const results = await Promise.all(running.map((agent) => tick(agent, price)));
    const [first, ...others] = results;
    for (const [index, { state, logs }] of others.entries()) {
      expect({ name: agents[index + 1], logs }).toEqual({ name: agents[index + 1], logs: first?.logs });
      expect(Buffer.compare(state, first?.state ?? state), `state of ${agents[index + 1]}`).toBe(0);
    }
    said.push(...(first?.logs ?? []));
    // Each takes up what the one before it had.
    if (number % 9n === 0n) {
      await Promise.all(running.map((agent) => agent.stop()));
      running = await loadAll(agents.map((_, index) => results.at(index - 1)?.state));
    }
  }
  expect(said.at(0)).toBe("born at 2024-02-29T23:59:59.007Z on a host of price 1000; mark a5a5a5a5a5a5a5a5");
  expect(said.filter((line) => line.startsWith("gap of 3.4 s"))).toHaveLength(5);
  expect(said.at(-1)).toBe("tick 40: 51.0 s old, 39 moves, 5 gaps");
  await sandbox.stop();
});
