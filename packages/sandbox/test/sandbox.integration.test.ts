import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { afterEach, describe, expect, test } from "vitest";
import type { Capability } from "../src/abi.ts";
import type { AgentInstance, TickInput, TickResult } from "../src/agent.ts";
import type { WorkerLost } from "../src/pool/lane.ts";
import { declaredLimits, parseManifest } from "../src/manifest.ts";
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

const none: ReadonlySet<Capability> = new Set();
const input: TickInput = { balanceMicrocents: 7n, pricePerSecond: 1_000n, receipts: [] };
const never = new AbortController().signal;
// A tick that is quick may still stand still for a while, on a machine that has others to run.
const oneWorker: SandboxRules = { ...defaultSandboxRules, workers: 1, tickTimeoutMs: 1_000, callTimeoutMs: 20_000 };
const open: Sandbox[] = [];
const lost: WorkerLost[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((sandbox) => sandbox.stop()));
  lost.length = 0;
});

function sandboxOf(rules: Partial<SandboxRules> = {}): Sandbox {
  const sandbox = new Sandbox(
    { clock: systemClock, onWorkerLost: (one) => lost.push(one) },
    { ...oneWorker, ...rules },
  );
  open.push(sandbox);
  return sandbox;
}

async function startAgent(
  sandbox: Sandbox,
  { options, agentId = "agent", state }: { options?: CounterOptions; agentId?: string; state?: Uint8Array } = {},
): Promise<AgentInstance> {
  const module = await sandbox.compile(counterAgent(options), none);
  return sandbox.start({ agentId, module, capabilities: none, state, signal: never });
}

function good(result: TickResult): Extract<TickResult, { kind: "ok" }> {
  if (result.kind !== "ok") throw new Error(`the tick failed: ${result.reason}, ${result.message}`);
  return result;
}

function bad(result: TickResult): Extract<TickResult, { kind: "failed" }> {
  if (result.kind !== "failed") throw new Error("the tick went well");
  return result;
}

async function countAfterTick(agent: AgentInstance): Promise<bigint> {
  return countOf(good(await agent.tick(input, never)).state);
}

function parse(limits: object) {
  return parseManifest(new TextEncoder().encode(JSON.stringify({ resource_limits: limits })));
}

async function faultOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isFault(error)) throw new Error(`expected a fault, not ${String(error)}`);
  return { code: error.code, message: error.message };
}

describe("a tick", () => {
  test("gives back the state after it, whether more work waits, and the time that it took", async () => {
    const agent = await startAgent(sandboxOf(), {
      options: { parts: { agent_tick: { code: [...countUp, ...op.const(1)] } } },
    });
    expect(countOf(agent.initialState)).toBe(0n);
    const first = good(await agent.tick(input, never));
    expect(countOf(first.state)).toBe(1n);
    expect(first.moreWork).toBe(true);
    expect(first.elapsedNs).toBeGreaterThan(0n);
    expect(first.elapsedNs).toBeLessThan(1_000_000_000n);
    expect(await countAfterTick(agent)).toBe(2n);
    expect(countOf(first.state)).toBe(1n);
  });

  test("may return nothing, which means that no more work waits", async () => {
    const agent = await startAgent(sandboxOf(), { options: { parts: { agent_tick: { results: [], code: countUp } } } });
    expect(good(await agent.tick(input, never)).moreWork).toBe(false);
  });

  test("goes on from a state that is resumed", async () => {
    const agent = await startAgent(sandboxOf(), { state: stateOf(41n) });
    expect(countOf(agent.initialState)).toBe(41n);
    expect(await countAfterTick(agent)).toBe(42n);
  });

  test("an agent without state resumes with nothing at (0, 0), and needs no malloc", async () => {
    const onlyEmpty = [...op.local(0), ...op.if(op.unreachable), ...op.local(1), ...op.if(op.unreachable)];
    const parts = {
      agent_checkpoint: { code: op.const(0) },
      malloc: "absent",
      agent_resume: { code: onlyEmpty },
    } as const;
    const agent = await startAgent(sandboxOf(), { options: { parts }, state: new Uint8Array(0) });
    expect(good(await agent.tick(input, never)).state).toHaveLength(0);
  });

  test("that was given up never happened", async () => {
    const agent = await startAgent(sandboxOf());
    expect(await countAfterTick(agent)).toBe(1n);
    const givingUp = new AbortController();
    const tick = agent.tick(input, givingUp.signal);
    givingUp.abort(new Error("lease gone"));
    await expect(tick).rejects.toThrow("lease gone");
    expect(await countAfterTick(agent)).toBe(2n);
  });

  test("a second tick before the first has ended is refused as a bug of the caller", async () => {
    const agent = await startAgent(sandboxOf());
    const first = agent.tick(input, never);
    await expect(agent.tick(input, never)).rejects.toThrow("busy");
    expect(good(await first).kind).toBe("ok");
  });

  test("that was given up does not end the wait for the next one when its worker is done with it", async () => {
    const firstLost = Promise.withResolvers<void>();
    const sandbox = new Sandbox({ clock: systemClock, onWorkerLost: () => firstLost.resolve() }, oneWorker);
    open.push(sandbox);
    const agent = await startAgent(sandbox, { options: { parts: { agent_tick: tickThat(op.forever, 0) } } });
    const givingUp = new AbortController();
    const first = agent.tick(input, givingUp.signal);
    givingUp.abort(new Error("lease gone"));
    await expect(first).rejects.toThrow("lease gone");
    const second = agent.tick(input, never);
    await firstLost.promise;
    await expect(agent.tick(input, never)).rejects.toThrow("busy");
    expect(bad(await second).reason).toBe("time-out");
  });

  test("GA-2: a tick that is thrown away is undone by restore", async () => {
    const agent = await startAgent(sandboxOf());
    const { state } = good(await agent.tick(input, never));
    expect(await countAfterTick(agent)).toBe(2n);
    await agent.restore(state);
    expect(await countAfterTick(agent)).toBe(2n);
  });

  test("restoring a state that the agent refuses is a fault, and the agent can be restored to another", async () => {
    const refuses13 = [...op.local(0), 0x29, 0x03, 0x00, ...op.const64(13), ...op.equal64, ...op.if(op.unreachable)];
    const resume = op.store64(at.count, [...op.local(0), 0x29, 0x03, 0x00]);
    const agent = await startAgent(sandboxOf(), {
      options: { parts: { agent_resume: { code: [...refuses13, ...resume] } } },
    });
    expect((await faultOf(agent.restore(stateOf(13n)))).code).toBe("STATE_INVALID");
    await agent.restore(stateOf(14n));
    expect(await countAfterTick(agent)).toBe(15n);
  });
});

describe("a failed tick", () => {
  test("T-37: a trap leaves the agent at the state before the tick", async () => {
    const halfDone = [...op.store64(at.count, op.const64(999)), ...op.unreachable];
    const agent = await startAgent(sandboxOf(), { options: { parts: { agent_tick: tickThat(halfDone, 2) } } });
    await agent.tick(input, never);
    await agent.tick(input, never);
    for (let attempt = 0; attempt < 3; attempt++) {
      const failed = bad(await agent.tick(input, never));
      expect(failed.reason).toBe("trap");
      expect(failed.message).toContain("agent_tick trapped");
    }
    await agent.restore(stateOf(100n));
    expect(await countAfterTick(agent)).toBe(101n);
    expect(lost).toEqual([]);
  });

  test("endless recursion is a trap like any other", async () => {
    const parts = { agent_tick: { code: [...op.call(1), ...op.drop, ...noMoreWork] } };
    const agent = await startAgent(sandboxOf(), { options: { parts } });
    expect(bad(await agent.tick(input, never)).reason).toBe("trap");
    expect(lost).toEqual([]);
  });

  test("a memory bomb stops at the cap", async () => {
    const grow = [...op.const(1), ...op.grow, ...op.const(-1), 0x47]; // i32.ne
    const bomb = [0x03, 0x40, ...grow, 0x0d, 0x00, 0x0b, ...op.unreachable];
    const agent = await startAgent(sandboxOf(), { options: { parts: { agent_tick: tickThat(bomb, 1) } } });
    await agent.tick(input, never);
    const failed = bad(await agent.tick(input, never));
    expect(failed.reason).toBe("memory");
    expect(failed.message).toContain(String(64 << 20));
    expect(lost).toEqual([]);
  });

  test("T-43: a manifest's own memory limit holds", async () => {
    const grow = { code: [...op.store64(at.count, [...op.const(4), ...op.grow, 0xac]), ...noMoreWork] }; // i64.extend_i32_s
    const sandbox = sandboxOf();
    const module = await sandbox.compile(counterAgent({ parts: { agent_tick: grow } }), none);
    const options = { agentId: "a", module, capabilities: none, state: undefined, signal: never };
    const wide = await sandbox.start(options);
    expect(await countAfterTick(wide)).toBe(1n);
    const narrow = await sandbox.start({ ...options, memoryLimitBytes: 4 * 65_536 });
    expect(BigInt.asIntN(64, await countAfterTick(narrow))).toBe(-1n);
    expect((await faultOf(sandbox.start({ ...options, memoryLimitBytes: 2 ** 30 }))).code).toBe("MEMORY_TOO_LARGE");
  });

  test("T-43: so do its limits of a tick's time and of the state", async () => {
    const turns = [...op.load64(at.scratch), ...op.const64(3_000_000), 0x54, 0x0d, 0x00]; // i64.lt_u, br_if 0
    const add = op.store64(at.scratch, [...op.load64(at.scratch), ...op.const64(1), ...op.add64]);
    const slow = tickThat([0x03, 0x40, ...add, ...turns, 0x0b], 1);
    const sandbox = sandboxOf();
    const module = await sandbox.compile(counterAgent({ parts: { agent_tick: slow } }), none);
    const options = { agentId: "a", module, capabilities: none, state: undefined, signal: never };
    const limited = await sandbox.start({ ...options, ...declaredLimits(parse({ max_cpu_millis: 1 })) });
    expect(await countAfterTick(limited)).toBe(1n);
    expect(bad(await limited.tick(input, never))).toMatchObject({ reason: "time-out" });
    const free = await sandbox.start({ ...options, ...declaredLimits(parse({ max_cpu_millis: 0 })) });
    expect(await countAfterTick(free)).toBe(1n);
    expect(await countAfterTick(free)).toBe(2n);

    const small = declaredLimits(parse({ max_storage_bytes: 7 }));
    expect((await faultOf(sandbox.start({ ...options, ...small }))).message).toContain("at most 7 are kept");
    expect((await faultOf(sandbox.start({ ...options, ...small, state: stateOf(1n) }))).code).toBe("STATE_INVALID");
    await sandbox.start({ ...options, ...declaredLimits(parse({ max_storage_bytes: 8 })) });
  });

  test.each([
    ["a size of 2^32 - 1", { agent_checkpoint: { code: op.const(-1) } }, "4294967295"],
    [
      "a pointer outside its memory",
      { agent_checkpoint_ptr: { code: op.const(65_535) } },
      "not all in the agent's memory",
    ],
    ["a pointer below zero", { agent_checkpoint_ptr: { code: op.const(-8) } }, "not all in the agent's memory"],
  ])("a checkpoint with %s is no state", async (_, parts, message) => {
    const fault = await faultOf(startAgent(sandboxOf(), { options: { parts } }));
    expect(fault.code).toBe("MODULE_INVALID");
    expect(fault.message).toContain(message);
  });

  test("a checkpoint that goes wrong after a tick fails the tick", async () => {
    const size = [...op.load64(at.count), 0x50, 0x04, 0x7f, ...op.const(8), 0x05, ...op.const(-1), 0x0b]; // count = 0 ? 8 : -1
    const agent = await startAgent(sandboxOf(), { options: { parts: { agent_checkpoint: { code: size } } } });
    const failed = bad(await agent.tick(input, never));
    expect(failed.reason).toBe("bad-result");
    expect(failed.elapsedNs).toBeGreaterThan(0n);
  });

  test("a state that could never be resumed is not kept", async () => {
    const fault = await faultOf(startAgent(sandboxOf(), { options: { parts: { malloc: "absent" } } }));
    expect(fault).toMatchObject({ code: "MODULE_INVALID" });
    expect(fault.message).toContain("malloc");
  });

  test.each([
    ["is full", op.const(0), "no room"],
    ["lies", op.const(65_530), "not all in the agent's memory"],
    ["points below zero", op.const(-1), "not all in the agent's memory"],
  ])("a malloc that %s is a typed refusal of the state", async (_, code, message) => {
    const fault = await faultOf(
      startAgent(sandboxOf(), { options: { parts: { malloc: { code } } }, state: stateOf(1n) }),
    );
    expect(fault.code).toBe("STATE_INVALID");
    expect(fault.message).toContain(message);
  });
});

describe("an endless loop", () => {
  test("T-38: costs its agent the tick, and the others of its worker not one", async () => {
    const sandbox = sandboxOf();
    const looping = await startAgent(sandbox, {
      agentId: "looping",
      options: { parts: { agent_tick: tickThat(op.forever, 3) } },
    });
    const others = await Promise.all(
      Array.from({ length: 10 }, (_, index) => startAgent(sandbox, { agentId: `other-${index}` })),
    );
    let failures = 0;
    for (let round = 1n; round <= 8n; round++) {
      const [loop, ...counts] = await Promise.all([looping.tick(input, never), ...others.map(countAfterTick)]);
      if (loop.kind === "failed") {
        failures += 1;
        expect(loop.reason).toBe("time-out");
        expect(loop.elapsedNs).toBeGreaterThanOrEqual(1_000_000_000n);
      }
      expect(counts).toEqual(others.map(() => round));
    }
    expect(failures).toBe(5);
    expect(lost.map(({ agentId, reason }) => ({ agentId, reason }))).toEqual(
      Array(5).fill({ agentId: "looping", reason: "time-out" }),
    );
    await looping.restore(stateOf(10n));
    expect(await countAfterTick(looping)).toBe(11n);
  });

  test("that only takes memory is ended as quickly, and its worker is gone as quickly", async () => {
    const sandbox = sandboxOf();
    const growing = [0x03, 0x40, ...op.const(1), ...op.grow, ...op.drop, 0x0c, 0x00, 0x0b];
    const agent = await startAgent(sandbox, { options: { parts: { agent_tick: tickThat(growing, 0) } } });
    expect(bad(await agent.tick(input, never)).reason).toBe("time-out");
    const beganMs = performance.now();
    await sandbox.stop();
    expect(performance.now() - beganMs).toBeLessThan(20_000);
  });

  test("a slow neighbour does not make an agent that waits time out", async () => {
    const sandbox = sandboxOf();
    const looping = await Promise.all(
      Array.from({ length: 4 }, (_, index) =>
        startAgent(sandbox, { agentId: `loop-${index}`, options: { parts: { agent_tick: tickThat(op.forever, 0) } } }),
      ),
    );
    const patient = await startAgent(sandbox, { agentId: "patient" });
    const loops = looping.map((agent) => agent.tick(input, never));
    expect(await countAfterTick(patient)).toBe(1n);
    for (const loop of loops) expect(bad(await loop).reason).toBe("time-out");
  });

  test.each([
    ["the start function", { start: 6, parts: { starter: { code: op.forever } } }],
    ["_initialize", { parts: { _initialize: { code: op.forever } } }],
    ["agent_init", { parts: { agent_init: { code: op.forever } } }],
    ["agent_checkpoint", { parts: { agent_checkpoint: { code: [...op.forever, ...op.const(0)] } } }],
    ["agent_checkpoint_ptr", { parts: { agent_checkpoint_ptr: { code: [...op.forever, ...op.const(0)] } } }],
  ] satisfies [string, CounterOptions][])("T-28: in %s is ended too", async (_, options) => {
    const sandbox = sandboxOf({ callTimeoutMs: 1_500 });
    const other = await startAgent(sandbox);
    expect(await countAfterTick(other)).toBe(1n);
    const fault = await faultOf(startAgent(sandbox, { options }));
    expect(fault.code).toBe("MODULE_INVALID");
    expect(fault.message).toContain("longer than 1500 ms");
    expect(await countAfterTick(other)).toBe(2n);
  });

  test.each(["malloc", "agent_resume"])("T-28: in %s is ended when a state is resumed", async (name) => {
    const code = name === "malloc" ? [...op.forever, ...op.const(0)] : op.forever;
    const sandbox = sandboxOf({ callTimeoutMs: 1_500 });
    const agent = await startAgent(sandbox, { options: { parts: { [name]: { code } } } });
    expect(countOf(agent.initialState)).toBe(0n);
    const fault = await faultOf(agent.restore(stateOf(5n)));
    expect(fault.message).toContain("longer than 1500 ms");
    expect(bad(await agent.tick(input, never)).reason).toBe("time-out");
  });
});

describe("many agents", () => {
  test("200 agents over 2 workers lose nothing while one of them loops", async () => {
    const sandbox = sandboxOf({ workers: 2 });
    sandbox.warm();
    const looping = await startAgent(sandbox, {
      agentId: "loop",
      options: { parts: { agent_tick: tickThat(op.forever, 4) } },
    });
    const agents = await Promise.all(
      Array.from({ length: 200 }, (_, index) => startAgent(sandbox, { agentId: `${index}` })),
    );
    for (let round = 1n; round <= 10n; round++) {
      const [, ...counts] = await Promise.all([looping.tick(input, never), ...agents.map(countAfterTick)]);
      expect(new Set(counts)).toEqual(new Set([round]));
    }
    expect(lost.length).toBe(6);
    await Promise.all(agents.map((agent) => agent.stop()));
    await expect(agents[0]?.tick(input, never)).rejects.toThrow("stopped");
  });

  test("stopping the sandbox rejects what waits and ends every worker", async () => {
    const sandbox = sandboxOf();
    const agent = await startAgent(sandbox, { options: { parts: { agent_tick: tickThat(op.forever, 0) } } });
    const other = await startAgent(sandbox);
    const ticks = [agent.tick(input, never), other.tick(input, never)];
    const settled = Promise.allSettled(ticks);
    await sandbox.stop();
    expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(sandbox.start({} as never)).rejects.toThrow("stopped");
  });
});
