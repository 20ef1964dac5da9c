import { type Clock, systemClock } from "@godwit/common/clock";
import { describe, expect, test } from "vitest";
import { compileWasmNow, defaultSandboxRules, InlineThreads, Sandbox } from "../src/index.ts";
import { counterAgent } from "../src/testing/counter-agent.ts";

describe("a sandbox without threads", () => {
  test("runs an agent on the given machine's time, and the same agent gives the same states again", async () => {
    const first = await threeTicks(systemClock);
    expect(first.elapsedNs).toEqual([5n, 5n, 5n]);
    expect(await threeTicks(systemClock)).toEqual(first);
  });
});

async function threeTicks(clock: Clock) {
  let nowNs = 0n;
  const machine = { nowNs: () => (nowNs += 5n), fillRandom: (target: Uint8Array) => void target.fill(7) };
  const sandbox = new Sandbox(
    {
      clock,
      threads: (limits) => new InlineThreads({ clock, machine, answersAfterMs: () => 1 }, limits),
      compile: async (bytes) => compileWasmNow(bytes),
    },
    defaultSandboxRules,
  );
  const signal = new AbortController().signal;
  try {
    const module = await sandbox.compile(counterAgent(), new Set());
    const instance = await sandbox.start({ agentId: "a", module, capabilities: new Set(), state: undefined, signal });
    const states: string[] = [];
    const elapsedNs: bigint[] = [];
    for (let tick = 0; tick < 3; tick++) {
      const result = await instance.tick({ balanceMicrocents: 1n, pricePerSecond: 1n, receipts: [] }, signal);
      if (result.kind !== "ok") throw new Error(result.message);
      states.push(Buffer.from(result.state).toString("hex"));
      elapsedNs.push(result.elapsedNs);
    }
    expect(new Set(states).size).toBe(3);
    return { states, elapsedNs };
  } finally {
    await sandbox.stop();
  }
}
