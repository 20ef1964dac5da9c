// The example agents in AssemblyScript, as their authors would test them; and the test host against the sandbox, which it stands for.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "@godwit/common/clock";
import { declaredCapabilities, defaultSandboxRules, parseManifest, Sandbox } from "@godwit/sandbox";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { compile } from "../src/testing/compile.ts";
import { AgentTrapped, TestAgent, type TestAgentOptions } from "../src/testing/test-agent.ts";

const agents = fileURLToPath(new URL("../../../agents/", import.meta.url));
const withAbort = ["--use", "abort=~lib/@godwit/agent-sdk/assembly/abort/abort"];
const second = 1_000_000_000n;

async function build(name: string): Promise<Uint8Array> {
  return await compile(`assembly/${name}.ts`, { directory: `${agents}${name}`, args: withAbort });
}

function manifestOf(name: string): string {
  return `${agents}${name}/${name}.manifest.json`;
}

function changed(state: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = state.slice();
  change(new DataView(copy.buffer));
  return copy;
}

describe("reconciler", () => {
  let module: Uint8Array;

  beforeAll(async () => {
    module = await build("reconciler");
  });

  const load = (options: TestAgentOptions = {}) =>
    TestAgent.load(module, { manifest: manifestOf("reconciler"), ...options });

  function fields(state: Uint8Array) {
    const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
    return {
      bytes: state.length,
      phase: view.getUint32(0, true),
      ticks: view.getBigUint64(4, true),
      caseId: [view.getUint32(12, true), Buffer.from(state.subarray(16, 32)).toString("hex")],
      confirmations: [view.getUint32(32, true), view.getUint32(36, true)],
      key: [view.getUint32(40, true), Buffer.from(state.subarray(44, 60)).toString("hex")],
      done: [...state.subarray(60, 64)].join(""),
      times: [64, 72, 80].map((at) => view.getBigInt64(at, true)),
    };
  }

  test("from detection to completion in 12 ticks, of which only the last has no more work; 88 bytes of state", async () => {
    const agent = await load({ startNs: 1n * second });
    const zeroes = "00".repeat(16);
    expect(fields(agent.state)).toEqual({
      ...{ bytes: 88, phase: 0, ticks: 0n, caseId: [16, zeroes], confirmations: [0, 6], key: [16, zeroes] },
      ...{ done: "0000", times: [0n, 0n, 0n] },
    });
    const ticks = Array.from({ length: 13 }, () => agent.tick());
    const seen = ticks.map(({ state, moreWork }) => {
      const { phase, confirmations, done } = fields(state);
      return `${phase} ${confirmations[0]} ${done} ${moreWork ? "more" : "-"}`;
    });
    expect(seen).toEqual([
      "1 0 0000 more", // detected
      ...[1, 2, 3, 4, 5].map((count) => `1 ${count} 0000 more`),
      "2 6 0000 more", // the key
      "2 6 1000 more", // the intent
      "3 6 1100 more", // finalised
      "3 6 1110 more", // duplicate check
      "3 6 1111 more", // acknowledged
      "4 6 1111 -",
      "4 6 1111 -",
    ]);
    expect(ticks[9]?.logs[0]).toContain("finalising again is skipped");
    expect(fields(agent.state).times).toEqual([1n * second, 9n * second, 12n * second]);
    expect(agent.host.logs.filter((line) => line.startsWith("finalise "))).toHaveLength(1);
  });

  test("IN-2: resumed after any tick it goes the same way, and finalises once", async () => {
    const straight = await load();
    straight.ticks(12);
    for (let at = 0; at <= 12; at++) {
      const agent = await load();
      for (let count = 0; count < 12; count++) {
        if (count === at) agent.resume();
        agent.tick();
      }
      expect(agent.state, `resumed after tick ${at}`).toEqual(straight.state);
      expect(agent.host.logs).toEqual(straight.host.logs);
    }
  });

  test("IN-3: a crash that takes ticks back makes it finalise with the same key again", async () => {
    const agent = await load();
    const { state } = agent.ticks(6);
    agent.ticks(3);
    agent.resume(state);
    agent.ticks(6);
    const finalised = agent.host.logs.filter((line) => line.startsWith("finalise "));
    expect(finalised).toHaveLength(2);
    expect(new Set(finalised).size).toBe(1);
  });

  test.each([
    ["finalised without an intent", (view: DataView) => view.setUint8(60, 0), "done which has not begun"],
    ["with an intent before its key", (view: DataView) => view.setUint32(0, 1, true), "key is not known yet"],
    ["of a phase that there is not", (view: DataView) => view.setUint32(0, 5, true), "no phase 5"],
    ["with a short key", (view: DataView) => view.setUint32(40, 15, true), "is not valid"],
  ])("a state %s is refused, and it is said why", async (_, change, why) => {
    const { state } = (await load()).ticks(9);
    const error: unknown = await load({ state: changed(state, change) }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AgentTrapped);
    expect((error as AgentTrapped).logs.at(-1)).toContain(why);
  });
});

describe("survivor", () => {
  test("on the test host as in the sandbox: what one writes the other reads, byte for byte", async () => {
    const module = await build("survivor");
    const path = manifestOf("survivor");
    const there = await TestAgent.load(module, { manifest: path, price: 7n });
    there.ticks(3);
    there.host.advanceClock(60n * second);
    const { state } = there.tick();
    expect(state).toHaveLength(328);
    expect(there.host.logs.at(-1)).toBe("gap of 61.0 s before tick 4 (number 1, longest 61.0 s)");

    const capabilities = declaredCapabilities(parseManifest(await readFile(path)));
    const rules = { ...defaultSandboxRules, tickTimeoutMs: 20_000, callTimeoutMs: 20_000 };
    const sandbox = new Sandbox({ clock: systemClock }, rules);
    onTestFinished(() => sandbox.stop());
    const compiled = await sandbox.compile(module, capabilities);
    const { signal } = new AbortController();
    const agent = await sandbox.start({ agentId: "survivor", module: compiled, capabilities, state, signal });
    const ticked = await agent.tick({ balanceMicrocents: 0n, pricePerSecond: 7n, receipts: [] }, signal);
    if (ticked.kind !== "ok") throw new Error(ticked.message);
    there.resume(ticked.state);
    const { state: last } = there.tick();
    const view = new DataView(last.buffer);
    expect([view.getBigUint64(8, true), view.getBigUint64(48, true)]).toEqual([6n, 0n]); // ticks, moves
    expect(last.subarray(56, 72)).toEqual(state.subarray(56, 72)); // its mark, and how many places
  });
});
