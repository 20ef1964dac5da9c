// A module as compilers build it for WASI, with its runtime's imports and an agent_tick without a result, is an agent like any other
// (T-46): what it gets of its host is recorded, gated by its manifest, and nothing of the machine.

import { systemClock } from "@godwit/common/clock";
import { afterEach, describe, expect, test } from "vitest";
import type { Capability } from "../src/abi.ts";
import { compileWasmNow } from "../src/engine.ts";
import { defaultSandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";
import { errno, type WasiName, wasiNames, wasiType } from "../src/wasi-abi.ts";
import { at, counterAgent, countOf, countUp } from "../src/testing/counter-agent.ts";
import { op } from "../src/testing/wasm-builder.ts";

const never = new AbortController().signal;
const input = { balanceMicrocents: 5n, pricePerSecond: 1n, receipts: [] };
const open: Sandbox[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((sandbox) => sandbox.stop()));
});

function sandboxOf(): Sandbox {
  const sandbox = new Sandbox(
    { clock: systemClock },
    { ...defaultSandboxRules, workers: 1, tickTimeoutMs: 1_000, callTimeoutMs: 10_000 },
  );
  open.push(sandbox);
  return sandbox;
}

/** WASI functions get the indices 0, 1, … in this order. */
const imports = (...names: readonly WasiName[]) =>
  names.map((name) => ({ module: "wasi_snapshot_preview1", name, ...wasiType(name) }));

async function started(bytes: Uint8Array, capabilities: readonly Capability[] = ["clock", "rand"]) {
  const sandbox = sandboxOf();
  const granted = new Set(capabilities);
  const module = await sandbox.compile(bytes, granted);
  return await sandbox.start({ agentId: "agent", module, capabilities: granted, state: undefined, signal: never });
}

/** The state becomes the errno of a call, times 2^32 plus what stands at the scratch place afterwards. */
const shows = (call: readonly number[]) => [
  ...op.store32(at.count + 4, call),
  ...op.store32(at.count, [...op.const(at.scratch), 0x28, 0x02, 0x00]),
];
const voidTick = (...code: readonly (readonly number[])[]) => ({ agent_tick: { results: [], code: code.flat() } });
const errnoOf = (state: Uint8Array) => Number(countOf(state) >> 32n);

/** Points a vector of eight bytes at "a line\nand" and says where. */
const text = "a line\nand";
const said = [...new TextEncoder().encode(text)].flatMap((byte, index) => [
  ...op.const(at.scratch + 64 + index),
  ...op.const(byte),
  0x3a,
  0x00,
  0x00,
]);
const vector = [
  ...op.store32(at.scratch + 8, op.const(at.scratch + 64)),
  ...op.store32(at.scratch + 12, op.const(text.length)),
];
const writeTo = (fd: number) => [
  ...op.const(fd),
  ...op.const(at.scratch + 8),
  ...op.const(1),
  ...op.const(at.scratch),
  ...op.call(0),
];

describe("T-46: a module with WASI imports", () => {
  test("of a TinyGo shape runs, says its lines, checkpoints, resumes and is run again", async () => {
    const names = ["fd_write", "clock_time_get", "random_get", "proc_exit"] as const;
    const add = (code: readonly number[]) => op.store64(at.count, [...op.load64(at.count), ...code, ...op.add64]);
    const random = [...op.const(at.scratch + 32), ...op.const(8), ...op.call(2), 0x1a];
    const time = [...op.const(1), ...op.const64(0), ...op.const(at.scratch + 40), ...op.call(1), 0x1a];
    const bytes = counterAgent({
      imports: imports(...names),
      parts: {
        ...voidTick(
          said,
          vector,
          writeTo(1),
          [0x1a],
          random,
          time,
          add(op.load64(at.scratch + 32)),
          add(op.load64(at.scratch + 40)),
        ),
        _start: { code: [...countUp, ...op.const(0), ...op.call(3)] },
      },
    });
    const agent = await started(bytes);
    expect(countOf(agent.initialState)).toBe(1n); // _start ran, and ended well
    const ticks: { tick: bigint; events: Uint8Array }[] = [];
    let state = agent.initialState;
    for (let tick = 1n; tick <= 3n; tick++) {
      const result = await agent.tick(input, never);
      if (result.kind !== "ok") throw new Error(result.message);
      expect(result.logs).toEqual(["a line", "and"]);
      expect(result.moreWork).toBe(false);
      ticks.push({ tick, events: result.events });
      state = result.state;
    }
    const again = await agent.replay({ state: agent.initialState, ticks }, never);
    expect(again).toMatchObject({ kind: "replayed", state });
    const tampered = ticks.map(({ tick, events }) => ({
      tick,
      events: tick === 2n ? (ticks[0]?.events as Uint8Array) : events,
    }));
    const otherwise = await agent.replay({ state: agent.initialState, ticks: tampered }, never);
    expect(otherwise.kind === "replayed" && countOf(otherwise.state) === countOf(state)).toBe(false);
  });

  test("links all of preview 1", async () => {
    expect(wasiNames).toHaveLength(46);
    const agent = await started(counterAgent({ imports: imports(...wasiNames) }), []);
    expect(await agent.tick(input, never)).toMatchObject({ kind: "ok" });
  });

  test.each<[string, WasiName, readonly number[], readonly Capability[], number]>([
    [
      "the time, undeclared",
      "clock_time_get",
      [...op.const(0), ...op.const64(0), ...op.const(at.scratch)],
      [],
      errno.notcapable,
    ],
    [
      "the time of a processor",
      "clock_time_get",
      [...op.const(2), ...op.const64(0), ...op.const(at.scratch)],
      ["clock"],
      errno.inval,
    ],
    [
      "the time outside of its memory",
      "clock_time_get",
      [...op.const(0), ...op.const64(0), ...op.const(65_532)],
      ["clock"],
      errno.fault,
    ],
    ["a resolution, undeclared", "clock_res_get", [...op.const(0), ...op.const(at.scratch)], [], errno.notcapable],
    ["random bytes, undeclared", "random_get", [...op.const(at.scratch), ...op.const(4)], [], errno.notcapable],
    ["random bytes outside of its memory", "random_get", [...op.const(65_530), ...op.const(64)], ["rand"], errno.fault],
    ["its arguments", "args_sizes_get", [...op.const(at.scratch), ...op.const(at.scratch + 4)], [], errno.success],
    ["a directory", "fd_prestat_get", [...op.const(3), ...op.const(at.scratch)], [], errno.badf],
    ["what its output is", "fd_fdstat_get", [...op.const(1), ...op.const(at.scratch)], [], errno.success],
    ["what a file is", "fd_fdstat_get", [...op.const(3), ...op.const(at.scratch)], [], errno.badf],
    ["another thread's turn", "sched_yield", [], [], errno.success],
    ["a socket", "sock_shutdown", [...op.const(3), ...op.const(0)], [], errno.nosys],
    [
      "its input, which has ended",
      "fd_read",
      [...op.const(0), ...op.const(0), ...op.const(0), ...op.const(at.scratch)],
      [],
      errno.success,
    ],
  ])("asks for %s", async (_, name, args, capabilities, expected) => {
    const bytes = counterAgent({ imports: imports(name), parts: voidTick(shows([...args, ...op.call(0)])) });
    const agent = await started(bytes, capabilities);
    const result = await agent.tick(input, never);
    if (result.kind !== "ok") throw new Error(result.message);
    expect(errnoOf(result.state)).toBe(expected);
    const ticks = [{ tick: 1n, events: result.events }];
    expect(await agent.replay({ state: agent.initialState, ticks }, never)).toMatchObject({ state: result.state });
  });

  test("writes to a file that nobody has opened", async () => {
    const bytes = counterAgent({ imports: imports("fd_write"), parts: voidTick(said, vector, shows(writeTo(3))) });
    const result = await (await started(bytes)).tick(input, never);
    expect(result).toMatchObject({ kind: "ok", logs: [] });
    if (result.kind === "ok") expect(errnoOf(result.state)).toBe(errno.badf);
  });

  test("ends itself: the tick has failed, and nothing else has", async () => {
    const bytes = counterAgent({ imports: imports("proc_exit"), parts: voidTick(op.const(3), op.call(0)) });
    const agent = await started(bytes);
    const result = await agent.tick(input, never);
    expect(result).toMatchObject({ kind: "failed", reason: "trap" });
    if (result.kind === "failed") expect(result.message).toContain("proc_exit(3)");
  });

  test("however often its runtime looks at the clock for its own sake: a tick alone is the same tick again", async () => {
    const [looks, left] = [at.scratch + 200, at.scratch + 204]; // no part of the state: each tick of an instance looks once more
    const load32 = (address: number) => [...op.const(address), 0x28, 0x02, 0x00];
    const time = [...op.const(1), ...op.const64(0), ...op.const(at.scratch), ...op.call(0), 0x1a];
    const lookAgain = [
      ...op.store32(looks, [...load32(looks), ...op.const(1), 0x6a]),
      ...op.store32(left, load32(looks)),
      ...[0x03, 0x40, ...time],
      ...op.store32(left, [...load32(left), ...op.const(1), 0x6b]),
      ...[...load32(left), 0x0d, 0x00, 0x0b],
      ...op.store64(at.count, op.load64(at.scratch)),
    ];
    const agent = await started(counterAgent({ imports: imports("clock_time_get"), parts: voidTick(lookAgain) }));
    const beganNs = BigInt(Date.now()) * 1_000_000n;
    let before = agent.initialState;
    for (let tick = 1n; tick <= 4n; tick++) {
      const result = await agent.tick(input, never);
      if (result.kind !== "ok") throw new Error(result.message);
      expect(countOf(result.state)).toBeGreaterThanOrEqual(beganNs - 1_000_000n);
      const ticks = [{ tick, events: result.events }];
      expect(await agent.replay({ state: before, ticks }, never)).toMatchObject({
        kind: "replayed",
        state: result.state,
      });
      before = result.state;
    }
  });

  test.each([
    ["for a while", 0, 7_000_000],
    ["until a time that is over", 1, 5],
  ])("sleeps %s: it wakes at once, and its time has moved on by it", async (_, flags, timeoutNs) => {
    const subscription = [
      ...op.store64(at.scratch + 128, op.const64(77)), // its name; kind 0 is a clock
      ...op.store64(at.scratch + 128 + 24, op.const64(timeoutNs)),
      ...op.store32(at.scratch + 128 + 40, op.const(flags)),
    ];
    const poll = [
      ...op.const(at.scratch + 128),
      ...op.const(at.scratch + 256),
      ...op.const(1),
      ...op.const(at.scratch),
      ...op.call(0),
    ];
    const timeTo = (to: number) => [...op.const(0), ...op.const64(0), ...op.const(to), ...op.call(1), 0x1a];
    const [from, to] = [at.scratch + 512, at.scratch + 520];
    const slept = op.store64(at.count, [
      ...[...poll, 0xad], // errno 0, as a 64-bit number
      ...[...op.const(at.scratch), 0x35, 0x02, 0x00, 0x7c], // and one event
      ...[...op.load64(to), ...op.load64(from), 0x7d, 0x7c], // and what it took
    ]);
    const bytes = counterAgent({
      imports: imports("poll_oneoff", "clock_time_get"),
      parts: voidTick(subscription, timeTo(from), [...poll, 0x1a], timeTo(to), slept),
    });
    const agent = await started(bytes);
    const result = await agent.tick(input, never);
    if (result.kind !== "ok") throw new Error(result.message);
    expect(countOf(result.state)).toBe(1n + (flags === 0 ? BigInt(timeoutNs) : 0n));
    const ticks = [{ tick: 1n, events: result.events }];
    expect(await agent.replay({ state: agent.initialState, ticks }, never)).toMatchObject({ state: result.state });
  });

  test("compiles on this thread as well", () => {
    expect(() => compileWasmNow(counterAgent({ imports: imports("fd_write") }))).not.toThrow();
  });
});
