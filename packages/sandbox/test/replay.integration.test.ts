// Ticks that are run again: an honest one always comes out the same (T-44), and what is different is named.

import { createHash } from "node:crypto";
import { systemClock } from "@godwit/common/clock";
import { afterEach, describe, expect, test } from "vitest";
import type { Capability, HostcallName } from "../src/abi.ts";
import type { AgentInstance, TickInput } from "../src/agent.ts";
import { compileWasmNow } from "../src/engine.ts";
import { EventReader, type RecordedCall } from "../src/events/event.ts";
import { decodeEventLog, encodeEventLog, type RecordedTick } from "../src/events/event-log.ts";
import { InlineThreads } from "../src/pool/inline-threads.ts";
import { defaultSandboxRules, type SandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";
import {
  at,
  type CounterOptions,
  counterAgent,
  countOf,
  countUp,
  noMoreWork,
  stateOf,
  tickThat,
} from "../src/testing/counter-agent.ts";
import { op } from "../src/testing/wasm-builder.ts";

const all: ReadonlySet<Capability> = new Set(["clock", "rand", "log", "wallet", "pricing"]);
const never = new AbortController().signal;
const receipt = Uint8Array.of(9, 8, 7);
const input: TickInput = { balanceMicrocents: 50n, pricePerSecond: 7n, receipts: [receipt] };
const open: Sandbox[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((sandbox) => sandbox.stop()));
});

function sandboxOf(rules: Partial<SandboxRules> = {}, randomFails = false): Sandbox {
  const machine = {
    nowNs: () => process.hrtime.bigint(),
    fillRandom: (target: Uint8Array) => {
      if (randomFails) throw new Error("no entropy");
      for (let i = 0; i < target.length; i++) target[i] = Math.trunc(Math.random() * 256);
    },
  };
  const inline = {
    threads: (limits: ConstructorParameters<typeof InlineThreads>[1]) =>
      new InlineThreads({ clock: systemClock, machine, answersAfterMs: () => 0 }, limits),
    compile: async (bytes: Uint8Array) => compileWasmNow(bytes),
  };
  const sandbox = new Sandbox(
    { clock: systemClock, ...(randomFails ? inline : {}) },
    { ...defaultSandboxRules, workers: 1, tickTimeoutMs: 1_000, callTimeoutMs: 10_000, ...rules },
  );
  open.push(sandbox);
  return sandbox;
}

async function started(sandbox: Sandbox, options: CounterOptions): Promise<AgentInstance> {
  const module = await sandbox.compile(counterAgent(options), all);
  return sandbox.start({ agentId: "agent", module, capabilities: all, state: undefined, signal: never });
}

interface Lived {
  readonly agent: AgentInstance;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly ticks: readonly RecordedTick[];
}

async function lived(sandbox: Sandbox, options: CounterOptions, count = 3): Promise<Lived> {
  const agent = await started(sandbox, options);
  const ticks: RecordedTick[] = [];
  let after = agent.initialState;
  for (let tick = 1n; tick <= count; tick++) {
    const result = await agent.tick(input, never);
    if (result.kind !== "ok") throw new Error(`${result.reason}: ${result.message}`);
    ticks.push({ tick, events: result.events });
    after = result.state;
  }
  return { agent, before: agent.initialState, after, ticks };
}

const again = ({ agent, before }: Lived, ticks: readonly RecordedTick[]) =>
  agent.replay({ state: before, ticks: decodeEventLog(encodeEventLog(ticks)) }, never);

function callsOf({ events }: RecordedTick): readonly RecordedCall[] {
  const reader = new EventReader(events);
  const calls: RecordedCall[] = [];
  while (!reader.done) calls.push(reader.next());
  return calls;
}

/** Adds what a call answers to the count, so that the state shows it. */
const added = (call: readonly number[], is64 = false) =>
  op.store64(at.count, [...op.load64(at.count), ...call, ...(is64 ? [] : [0xac]), ...op.add64]);
const tick = (...code: readonly (readonly number[])[]): CounterOptions["parts"] => ({
  agent_tick: { code: [...code.flat(), ...noMoreWork] },
});
const three = [op.const(at.scratch), op.const(16)].flat();

/** Every way in which a call can go, and what of it is not answered with success. */
const paths: readonly (readonly [string, HostcallName, readonly number[]])[] = [
  ["the time", "clock_now", added(op.call(0), true)],
  ["the balance", "wallet_balance", added(op.call(0), true)],
  ["the price", "node_price", added(op.call(0), true)],
  ["how many receipts there are", "wallet_receipt_count", added(op.call(0))],
  ["a few random bytes", "rand_bytes", [...added([...three, ...op.call(0)]), ...added(op.load64(at.scratch), true)]],
  [
    "more random bytes than are written down",
    "rand_bytes",
    [
      ...added([...op.const(at.scratch), ...op.const(5_000), ...op.call(0)]),
      ...added(op.load64(at.scratch + 4_000), true),
    ],
  ],
  ["no random bytes", "rand_bytes", added([...op.const(at.scratch), ...op.const(0), ...op.call(0)])],
  ["too many random bytes", "rand_bytes", added([...op.const(0), ...op.const(67_108_865), ...op.call(0)])],
  ["random bytes outside of its memory", "rand_bytes", added([...op.const(65_530), ...op.const(16), ...op.call(0)])],
  ["a message", "log_emit", [...three, ...op.call(0), ...countUp]],
  ["an empty message", "log_emit", [...op.const(0), ...op.const(0), ...op.call(0), ...countUp]],
  ["a message that is too long", "log_emit", [...op.const(0), ...op.const(1_048_577), ...op.call(0), ...countUp]],
  ["a message outside of its memory", "log_emit", [...op.const(65_535), ...op.const(9), ...op.call(0), ...countUp]],
  ["a receipt", "wallet_receipt", added([...op.const(0), ...three, ...op.call(0)])],
  ["a receipt that is not there", "wallet_receipt", added([...op.const(5), ...three, ...op.call(0)])],
  ["a receipt before the first", "wallet_receipt", added([...op.const(-1), ...three, ...op.call(0)])],
  [
    "a receipt into too little room",
    "wallet_receipt",
    added([...op.const(0), ...op.const(at.scratch), ...op.const(2), ...op.call(0)]),
  ],
  [
    "a receipt outside of its memory",
    "wallet_receipt",
    added([...op.const(0), ...op.const(65_535), ...op.const(64), ...op.call(0)]),
  ],
];

describe("T-44: an honest tick comes out the same when it is run again", () => {
  test.each(paths)("that asks for %s", async (_, name, code) => {
    const life = await lived(sandboxOf(), { hostcalls: [name], parts: tick(code) });
    expect(callsOf(life.ticks[0] as RecordedTick)).toHaveLength(1); // the failing ones, too
    const result = await again(life, life.ticks);
    expect(result).toMatchObject({ kind: "replayed" });
    if (result.kind === "replayed") expect(result.state).toEqual(life.after);
  });

  test("whose host has no random bytes", async () => {
    const life = await lived(sandboxOf({}, true), {
      hostcalls: ["rand_bytes"],
      parts: tick(added([...three, ...op.call(0)])),
    });
    const { state } = (await again(life, life.ticks)) as { state: Uint8Array };
    expect(countOf(state)).toBe(-3n & 0xffff_ffff_ffff_ffffn);
  });

  test("that calls while its state is taken", async () => {
    const parts = { agent_checkpoint: { code: [...added(op.call(0), true), ...op.const(8)] } };
    const life = await lived(sandboxOf(), { hostcalls: ["clock_now"], parts });
    expect(await again(life, life.ticks)).toMatchObject({ kind: "replayed", state: life.after });
  });

  test("that calls nothing, and leaves nothing behind", async () => {
    const life = await lived(sandboxOf(), {}, 200);
    expect(life.ticks.every(({ events }) => events.length === 0)).toBe(true);
    expect(await again(life, life.ticks)).toMatchObject({ kind: "replayed", state: life.after });
  });
});

describe("T-47: a tick that comes out differently is named, with the call", () => {
  const clock: CounterOptions = { hostcalls: ["clock_now"], parts: tick(added(op.call(0), true)) };

  test("a call that was not recorded", async () => {
    const life = await lived(sandboxOf(), clock);
    const ticks = life.ticks.map(({ tick }) => ({
      tick,
      events: tick === 2n ? new Uint8Array(0) : (life.ticks[0]?.events as Uint8Array),
    }));
    expect(await again(life, ticks)).toMatchObject({ kind: "diverged", tick: 2n, call: 0 });
  });

  test("a call that was recorded and is not made", async () => {
    const life = await lived(sandboxOf(), clock);
    const doubled = life.ticks.map(({ tick, events }) => ({ tick, events: new Uint8Array([...events, ...events]) }));
    expect(await again(life, doubled)).toMatchObject({ kind: "diverged", tick: 1n, call: 1 });
  });

  test("another function", async () => {
    const life = await lived(sandboxOf(), clock);
    const price = await lived(sandboxOf(), { hostcalls: ["node_price"], parts: tick(added(op.call(0), true)) });
    expect(await again(life, price.ticks)).toMatchObject({ kind: "diverged", tick: 1n, call: 0 });
  });

  test("what it says, not only that it says something", async () => {
    const say = (text: number) => [...op.store32(at.scratch, op.const(text)), ...three, ...op.call(0), ...countUp];
    const life = await lived(sandboxOf(), { hostcalls: ["log_emit"], parts: tick(say(1)) });
    const other = await lived(sandboxOf(), { hostcalls: ["log_emit"], parts: tick(say(2)) });
    expect(await again(life, other.ticks)).toMatchObject({ kind: "diverged", tick: 1n, call: 0 });
  });

  test("an answer that is another shows in the state: that is for whoever knows the right one", async () => {
    const life = await lived(sandboxOf(), clock, 1);
    const other = await lived(sandboxOf(), clock, 1);
    const result = await again(life, other.ticks);
    expect(result.kind).toBe("replayed");
    if (result.kind === "replayed") expect(result.state).toEqual(other.after);
  });

  test("a state on the way that is not the one that was signed, though it ends well", async () => {
    const { agent, before, after, ticks } = await lived(sandboxOf(), {}, 6);
    const digestOf = (state: Uint8Array) => createHash("sha256").update(state).digest("hex");
    const withDigests = (ofThird: bigint) =>
      ticks.map((one) => {
        if (one.tick === 3n) return { ...one, stateDigest: digestOf(stateOf(ofThird)) };
        return one.tick === 6n ? { ...one, stateDigest: digestOf(after) } : one;
      });
    const right = await agent.replay({ state: before, ticks: withDigests(3n) }, never);
    expect(right).toMatchObject({ kind: "replayed", state: after });
    const wrong = await agent.replay({ state: before, ticks: withDigests(4n) }, never);
    expect(wrong).toMatchObject({ kind: "diverged", tick: 3n, call: undefined });
  });

  test("a trap", async () => {
    const life = await lived(sandboxOf(), {}, 2);
    const traps = await lived(sandboxOf(), { parts: { agent_tick: tickThat(op.unreachable, 1) } }, 1);
    expect(await again(traps, life.ticks)).toMatchObject({ kind: "diverged", tick: 2n });
  });
});

test("a replay that does not end in time has failed, and shows nothing; the agent ticks on", async () => {
  const sandbox = sandboxOf({ callTimeoutMs: 300 });
  const life = await lived(sandbox, { parts: { agent_tick: tickThat(op.forever, 2) } }, 2);
  const ticks = [...life.ticks, { tick: 3n, events: new Uint8Array(0) }];
  expect(await again(life, ticks)).toMatchObject({ kind: "failed", tick: 3n, reason: "time-out" });
});

test("calls that take more than a tick's event log trap the tick", async () => {
  const loop = [0x03, 0x40, ...three, ...op.call(0), 0x0c, 0x00, 0x0b];
  const agent = await started(sandboxOf({ maxEventBytes: 4_096, tickTimeoutMs: 10_000 }), {
    hostcalls: ["log_emit"],
    parts: tick(loop),
  });
  expect(await agent.tick(input, never)).toMatchObject({ kind: "failed", reason: "trap" });
});
