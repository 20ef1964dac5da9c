// What agents had is given back when they have ended, however they ended: 1.6 GiB go through one worker, and little of that is taken
// at any time.

import { systemClock } from "@godwit/common/clock";
import { afterAll, expect, test } from "vitest";
import type { AgentInstance } from "../src/agent.ts";
import { defaultSandboxRules, pageBytes } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";
import { type CounterOptions, counterAgent, countUp, noMoreWork } from "../src/testing/counter-agent.ts";
import { op, u32 } from "../src/testing/wasm-builder.ts";

const MIB = 2 ** 20;
/** 40 to 150 MiB are seen: what was not collected yet. */
const MAX_GROWTH_BYTES = 512 * MIB;
const COUNT = 200;

const signal = new AbortController().signal;
const view = { balanceMicrocents: 1n, pricePerSecond: 1n, receipts: [] };
const capabilities = new Set<never>();
// A tick that is quick may still stand still for a while, on a machine that has others to run.
const sandbox = new Sandbox(
  { clock: systemClock },
  { ...defaultSandboxRules, workers: 1, tickTimeoutMs: 20_000, callTimeoutMs: 20_000 },
);
afterAll(() => sandbox.stop());

/** 8 MiB of memory, all of which a tick writes to, and 1 MiB of it is the agent's state. */
const pages = (8 * MIB) / pageBytes;
const fill = [...op.const(pageBytes), ...op.const(0x55), ...op.const((pages - 1) * pageBytes), 0xfc, 0x0b, 0x00];
const large: CounterOptions = {
  memories: [[0x00, ...u32(pages)]],
  parts: {
    agent_tick: { code: [...fill, ...countUp, ...noMoreWork] },
    agent_checkpoint: { code: op.const(MIB) },
    agent_checkpoint_ptr: { code: op.const(pageBytes) },
    malloc: { code: op.const(2 * MIB) },
  },
};

async function start(options: CounterOptions = large, state?: Uint8Array): Promise<AgentInstance> {
  const module = await sandbox.compile(counterAgent(options), capabilities);
  return await sandbox.start({ agentId: "agent", module, capabilities, state, signal });
}

/** What is measured is the process, with its workers. */
async function repeated(work: () => Promise<unknown>): Promise<void> {
  const before = process.memoryUsage().rss;
  for (let times = 0; times < COUNT; times++) {
    await work();
    expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  }
}

test("of agents that ended all at once, though their worker is asked for nothing more", async () => {
  const quiet = { memories: [[0x00, ...u32(pages)]], parts: { agent_init: { code: fill } } };
  const before = process.memoryUsage().rss;
  const growth = () => process.memoryUsage().rss - before;
  const agents: AgentInstance[] = [];
  for (let started = 0; started < 60; started++) agents.push(await start(quiet));
  expect(growth()).toBeGreaterThan(400 * MIB);
  for (const agent of agents) await agent.stop();
  await expect.poll(growth, { timeout: 10_000 }).toBeLessThan(160 * MIB);
});

test("of agents that were stopped: each takes up what the one before it had come to, as after a move", async () => {
  let state: Uint8Array | undefined;
  await repeated(async () => {
    const agent = await start(large, state);
    const result = await agent.tick(view, signal);
    if (result.kind !== "ok") throw new Error(result.message);
    state = result.state;
    await agent.stop();
  });
});

test("of instances whose ticks trap: their agent goes on in another one each time", async () => {
  const agent = await start({
    ...large,
    parts: { ...large.parts, agent_tick: { code: [...fill, ...op.unreachable] } },
  });
  await repeated(async () => expect(await agent.tick(view, signal)).toMatchObject({ kind: "failed", reason: "trap" }));
  await agent.stop();
});

test("of agents that could not be started", async () => {
  const trapped = { ...large, parts: { ...large.parts, agent_init: { code: [...fill, ...op.unreachable] } } };
  await repeated(() => expect(start(trapped)).rejects.toMatchObject({ code: "MODULE_INVALID" }));
});

test("of replays, each of which has an instance of its own", async () => {
  const agent = await start();
  const state = agent.initialState;
  await repeated(async () => {
    const ticks = [{ tick: 1n, events: new Uint8Array(0) }];
    expect((await agent.replay({ state, ticks }, signal)).kind).toBe("replayed");
  });
  await agent.stop();
});
