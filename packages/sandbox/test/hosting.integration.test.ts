// What an agent sees of its host, and what its host does about modules.

import { setImmediate } from "node:timers/promises";
import { type Clock, systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { afterEach, describe, expect, test } from "vitest";
import type { Capability } from "../src/abi.ts";
import type { AgentInstance, TickInput, TickResult } from "../src/agent.ts";
import { defaultSandboxRules, type SandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";
import {
  at,
  type CounterOptions,
  counterAgent,
  countOf,
  countUp,
  noMoreWork,
  tickThat,
} from "../src/testing/counter-agent.ts";
import { op } from "../src/testing/wasm-builder.ts";

const all: ReadonlySet<Capability> = new Set(["clock", "rand", "log", "wallet", "pricing"]);
const never = new AbortController().signal;
const input: TickInput = { balanceMicrocents: 123_456n, pricePerSecond: 1_000n, receipts: [] };
const open: Sandbox[] = [];
/** A tick that is quick may still stand still for a while, on a machine that has others to run. */
const patient: SandboxRules = { ...defaultSandboxRules, tickTimeoutMs: 1_000, callTimeoutMs: 20_000 };

afterEach(async () => {
  await Promise.all(open.splice(0).map((sandbox) => sandbox.stop()));
});

function sandboxOf(rules: Partial<SandboxRules> = {}, clock: Clock = systemClock): Sandbox {
  const sandbox = new Sandbox({ clock }, { ...patient, workers: 1, ...rules });
  open.push(sandbox);
  return sandbox;
}

async function startAgent(sandbox: Sandbox, options: CounterOptions, startInput?: TickInput): Promise<AgentInstance> {
  const module = await sandbox.compile(counterAgent(options), all);
  const more = startInput === undefined ? {} : { input: startInput };
  return sandbox.start({ agentId: "agent", module, capabilities: all, state: undefined, signal: never, ...more });
}

async function ticked(
  agent: AgentInstance,
  change: Partial<TickInput> = {},
): Promise<Extract<TickResult, { kind: "ok" }>> {
  const result = await agent.tick({ ...input, ...change }, never);
  if (result.kind !== "ok") throw new Error(`${result.reason}: ${result.message}`);
  return result;
}

/** Writes "hi" to memory and logs it. */
const sayHi = [...op.store32(at.scratch, op.const(0x6968)), ...op.const(at.scratch), ...op.const(2), ...op.call(0)];

/** A tick whose state is what a host call answered. */
function answerOf(call: readonly number[]): CounterOptions["parts"] {
  return { agent_tick: { code: [...op.store64(at.count, call), ...noMoreWork] } };
}

/** Afterwards this thread's timers and messages are late. */
function standStill(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Requests leave at the end of a turn: after it, a worker has the tick. */
async function sent(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

describe("an agent's host", () => {
  test("tells it time, balance, price and receipts of the very tick", async () => {
    const sandbox = sandboxOf();
    const clock = await startAgent(sandbox, { hostcalls: ["clock_now"], parts: answerOf(op.call(0)) });
    const before = Date.now();
    const seenMs = Number(countOf((await ticked(clock)).state) / 1_000_000n);
    expect(seenMs).toBeGreaterThanOrEqual(before - 1);
    expect(seenMs).toBeLessThanOrEqual(Date.now() + 1);

    const wallet = await startAgent(sandbox, {
      hostcalls: ["wallet_balance"],
      parts: answerOf(op.call(0)),
      hostModule: "godwit",
    });
    expect(countOf((await ticked(wallet)).state)).toBe(123_456n);
    expect(countOf((await ticked(wallet, { balanceMicrocents: 5n })).state)).toBe(5n);

    const pricing = await startAgent(sandbox, { hostcalls: ["node_price"], parts: answerOf(op.call(0)) });
    expect(countOf((await ticked(pricing, { pricePerSecond: 77n })).state)).toBe(77n);

    const receiptLength = [...op.const(0), ...op.const(at.scratch), ...op.const(64), ...op.call(0), 0xac];
    const receipts = await startAgent(sandbox, { hostcalls: ["wallet_receipt"], parts: answerOf(receiptLength) });
    expect(countOf((await ticked(receipts)).state)).toBe(2n ** 64n - 1n);
    const held = [new Uint8Array(new ArrayBuffer(1 << 20), 10, 40)];
    expect(countOf((await ticked(receipts, { receipts: held })).state)).toBe(40n);
    expect(countOf((await ticked(receipts, { receipts: held })).state)).toBe(40n);
    expect(countOf((await ticked(receipts, { receipts: [] })).state)).toBe(2n ** 64n - 1n);
  });

  test("takes host calls of the start function and of agent_init, when the agent's memory can be reached already", async () => {
    const sandbox = sandboxOf();
    const parts = { starter: { code: sayHi }, agent_init: { code: sayHi } };
    const agent = await startAgent(sandbox, { hostcalls: ["log_emit"], parts, start: 7 });
    expect(agent.initialLogs).toEqual(["hi", "hi"]);

    const balance = { agent_init: { code: op.store64(at.count, op.call(0)) } };
    const rich = await startAgent(sandbox, { hostcalls: ["wallet_balance"], parts: balance }, input);
    expect(countOf(rich.initialState)).toBe(123_456n);
  });

  test("collects what the agent says in a tick, and bounds it", async () => {
    const talk = { agent_init: { code: sayHi }, agent_tick: { code: [...sayHi, ...sayHi, ...sayHi, ...noMoreWork] } };
    const agent = await startAgent(sandboxOf({ maxLogBytes: 40 }), { hostcalls: ["log_emit"], parts: talk });
    expect(await ticked(agent)).toMatchObject({ logs: ["hi", "hi"], logsDropped: 1 });
    await agent.restore(agent.initialState);
    expect(await ticked(agent)).toMatchObject({ logs: ["hi", "hi"], logsDropped: 1 });
  });

  test("hands out what a failed tick had said, for whoever looks for the reason", async () => {
    const parts = { agent_tick: { code: [...sayHi, ...op.unreachable] } };
    const agent = await startAgent(sandboxOf(), { hostcalls: ["log_emit"], parts });
    expect(await agent.tick(input, never)).toMatchObject({ kind: "failed", reason: "trap", logs: ["hi"] });
  });

  test("ends an endless loop of host calls too", async () => {
    const parts = { agent_tick: { code: [0x03, 0x40, ...sayHi, 0x0c, 0x00, 0x0b, ...noMoreWork] } };
    const agent = await startAgent(sandboxOf({ maxEventBytes: 16 << 20, tickTimeoutMs: 30 }), {
      hostcalls: ["log_emit"],
      parts,
    });
    expect(await agent.tick(input, never)).toMatchObject({ kind: "failed", reason: "time-out" });
  });

  test("that stands still for a while fails no agent that was quick", async () => {
    const agent = await startAgent(sandboxOf(), {});
    const tick = agent.tick(input, never);
    await sent();
    standStill(3 * patient.tickTimeoutMs);
    expect((await tick).kind).toBe("ok");
  });

  test("that stands still while a tick runs for too long counts it as failed all the same", async () => {
    const upTo = [...op.load64(at.scratch), ...op.const64(2_147_483_647), 0x54, 0x0d, 0x00]; // i64.lt_u, br_if 0
    const add = op.store64(at.scratch, [...op.load64(at.scratch), ...op.const64(1), ...op.add64]);
    const slow = [0x03, 0x40, ...add, ...upTo, 0x0b];
    const agent = await startAgent(sandboxOf({ tickTimeoutMs: 100 }), { parts: { agent_tick: tickThat(slow, 1) } });
    await ticked(agent);
    const tick = agent.tick(input, never);
    await sent();
    standStill(3_000);
    expect(await tick).toMatchObject({ kind: "failed", reason: "time-out" });
    // The count is 1 still: it is slow again.
    expect(await agent.tick(input, never)).toMatchObject({ kind: "failed", reason: "time-out" });
  });

  test("gives up a tick that loops at once, and the agent goes on from the state before", async () => {
    const agent = await startAgent(sandboxOf(), { parts: { agent_tick: tickThat(op.forever, 1) } });
    const { state } = await ticked(agent);
    const givingUp = new AbortController();
    const tick = agent.tick(input, givingUp.signal);
    givingUp.abort(new Error("lease gone"));
    await expect(tick).rejects.toThrow("lease gone");
    await agent.restore(new Uint8Array(8));
    expect(countOf((await ticked(agent)).state)).toBe(countOf(state));
  });

  test("does not start what was given up before", async () => {
    const sandbox = sandboxOf();
    const module = await sandbox.compile(counterAgent(), all);
    const signal = AbortSignal.abort(new Error("too late"));
    await expect(sandbox.start({ agentId: "a", module, capabilities: all, state: undefined, signal })).rejects.toThrow(
      "too late",
    );
  });
});

describe("a module", () => {
  async function reason(work: Promise<unknown>): Promise<string> {
    const error: unknown = await work.catch((caught: unknown) => caught);
    if (!isFault(error, "MODULE_INVALID")) throw new Error(`expected MODULE_INVALID, not ${String(error)}`);
    return error.detail.reason;
  }

  test("is compiled once for the same bytes, named by their digest, until it is released", async () => {
    const sandbox = sandboxOf();
    const bytes = counterAgent({ hostcalls: ["clock_now"] });
    const [first, second] = await Promise.all([sandbox.compile(bytes, all), sandbox.compile(bytes.slice(), all)]);
    expect(second).toBe(first);
    expect(first.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(first.sizeBytes).toBe(bytes.length);
    expect(first.imports).toEqual(["clock_now"]);
    sandbox.release(first.digest);
    expect(await sandbox.compile(bytes, all)).not.toBe(first);
  });

  test("is refused for each manifest that does not declare what it imports, also when it is known already", async () => {
    const sandbox = sandboxOf();
    const bytes = counterAgent({ hostcalls: ["rand_bytes"] });
    const module = await sandbox.compile(bytes, all);
    const only: ReadonlySet<Capability> = new Set(["clock"]);
    expect(await reason(sandbox.compile(bytes, only))).toContain('rand_bytes (capability "rand")');
    const start = sandbox.start({ agentId: "a", module, capabilities: only, state: undefined, signal: never });
    expect(await reason(start)).toContain("which its manifest does not declare");
  });

  test("T-27: of two that are loaded at once each gets what its own manifest declares, however often", async () => {
    const sandbox = sandboxOf({ workers: 2 });
    const capability = { clock_now: "clock", node_price: "pricing" } as const;
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const name = index % 2 === 0 ? "clock_now" : "node_price";
        const other = index % 2 === 0 ? "node_price" : "clock_now";
        const granted = new Set<Capability>([capability[name]]);
        const module = await sandbox.compile(counterAgent({ hostcalls: [name], parts: answerOf(op.call(0)) }), granted);
        const agent = await sandbox.start({
          agentId: `${index}`,
          module,
          capabilities: granted,
          state: undefined,
          signal: never,
        });
        const seen = countOf((await ticked(agent, { pricePerSecond: 77n })).state);
        if (name === "node_price") expect(seen).toBe(77n);
        else expect(seen).toBeGreaterThan(1_000_000_000_000n);
        const foreign = sandbox.compile(counterAgent({ hostcalls: [other] }), granted);
        await expect(foreign).rejects.toMatchObject({ code: "MODULE_INVALID" });
        await agent.stop();
      }),
    );
  });

  test("that is one of a thousand is not kept for ever: memory is bounded", async () => {
    const sandbox = sandboxOf();
    const filler = "x".repeat(40_000);
    const before = process.memoryUsage().rss;
    for (let number = 0; number < 1_000; number++) {
      const body = [4, 0x6e, 0x61, 0x6d, 0x65, ...new TextEncoder().encode(`${filler}${number}`)];
      await sandbox.compile(counterAgent({ extra: [{ id: 0, body }] }), all);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(400 << 20);
    const agent = await startAgent(sandbox, {});
    expect(countOf((await ticked(agent)).state)).toBe(1n);
  });

  test("that is too large, no WebAssembly, or does not validate is refused with a reason", async () => {
    const sandbox = sandboxOf({ maxModuleBytes: 1_000 });
    expect(await reason(sandbox.compile(new Uint8Array(1_001), all))).toContain("at most 1000");
    expect(await reason(sandbox.compile(new Uint8Array(1_000), all))).toContain("not WebAssembly");
    const unbalanced = counterAgent({ parts: { agent_tick: { code: [...countUp] } } });
    expect(await reason(sandbox.compile(unbalanced, all))).toContain("does not compile");
  });

  test("that begins above the memory that its manifest allows is refused", async () => {
    const sandbox = sandboxOf();
    const module = await sandbox.compile(counterAgent({ memories: [[0x00, 3]] }), all);
    const options = { agentId: "a", module, capabilities: all, state: undefined, signal: never };
    expect(await reason(sandbox.start({ ...options, memoryLimitBytes: 2 * 65_536 }))).toContain("it may have 131072");
    expect((await sandbox.start({ ...options, memoryLimitBytes: 3 * 65_536 })).initialState).toHaveLength(8);
  });
});
