import { beforeEach, describe, expect, test } from "vitest";
import type { HostcallName } from "../abi.ts";
import { HostcallContext, hostImports } from "./hostcalls.ts";
import { LogCollector } from "./log-collector.ts";
import { thisMachine } from "./machine.ts";
import { Tape } from "./tape.ts";

const names: readonly HostcallName[] = [
  "clock_now",
  "rand_bytes",
  "log_emit",
  "wallet_balance",
  "wallet_receipt_count",
  "wallet_receipt",
  "node_price",
];
const wallNs = 1_700_000_000_123n * 1_000_000n;
const memoryBytes = 65_536;

let logs: LogCollector;
let memory: { buffer: ArrayBuffer };
let call: (name: HostcallName, ...numbers: number[]) => unknown;

beforeEach(() => {
  logs = new LogCollector(1_000);
  logs.open();
  memory = { buffer: new ArrayBuffer(memoryBytes) };
  const context = new HostcallContext({ logs, machine: thisMachine, tape: new Tape(1_024) });
  context.memory = memory;
  const receipts = [Uint8Array.of(1, 2, 3), new Uint8Array(100)];
  context.show({ wallNs, balanceMicrocents: 9_000_000_000_000_000_000n, pricePerSecond: 1_500n, receipts });
  const functions = hostImports(context, names)["igor"] as unknown as Record<string, (...numbers: number[]) => unknown>;
  call = (name, ...numbers) => functions[name]?.(...numbers);
});

function write(at: number, text: string): number {
  const bytes = new TextEncoder().encode(text);
  new Uint8Array(memory.buffer, at, bytes.length).set(bytes);
  return bytes.length;
}

describe("a host call", () => {
  test("only what is granted is linked, and the same under both names", () => {
    const imports = hostImports(new HostcallContext({ logs, machine: thisMachine, tape: new Tape(1_024) }), [
      "node_price",
    ]);
    expect(Object.keys(imports)).toEqual(["igor", "godwit"]);
    expect(Object.keys(imports["godwit"] ?? {})).toEqual(["node_price"]);
    expect(imports["igor"]).toBe(imports["godwit"]);
  });

  test("clock_now goes on from the host's wall clock, in whole milliseconds", () => {
    const now = call("clock_now") as bigint;
    expect(now).toBeGreaterThanOrEqual(wallNs);
    expect(now - wallNs).toBeLessThan(60_000_000_000n);
    expect(now % 1_000_000n).toBe(0n);
  });

  test("rand_bytes fills what it is told, and nothing else", () => {
    expect(call("rand_bytes", 100, 64)).toBe(0);
    const all = new Uint8Array(memory.buffer);
    expect(all.subarray(100, 164).some((byte) => byte !== 0)).toBe(true);
    expect(all.subarray(0, 100).some((byte) => byte !== 0)).toBe(false);
    expect(all.subarray(164).some((byte) => byte !== 0)).toBe(false);
  });

  test.each([
    ["nothing", 0, 0, 0],
    ["nothing, anywhere", -1, 0, 0],
    ["more than 64 MiB", 0, 67_108_865, -2],
    ["a length below zero", 0, -1, -2],
    ["beyond the end", memoryBytes - 1, 2, -4],
    ["from below zero", -4, 8, -4],
  ])("rand_bytes of %s", (_, pointer, length, code) => {
    expect(call("rand_bytes", pointer, length)).toBe(code);
  });

  test("log_emit keeps what fits, in order; counts what does not; ignores the empty message", () => {
    const length = write(8, "höhö");
    call("log_emit", 8, length);
    call("log_emit", 8, 0);
    call("log_emit", memoryBytes - 2, 4);
    call("log_emit", 0, 1_048_577);
    call("log_emit", 0, 2_000);
    call("log_emit", 8, 1);
    expect(logs.collected()).toEqual({ logs: ["höhö", "h"], logsDropped: 3 });
  });

  test("log_emit shows bytes that are no text, and bounds even the shortest messages", () => {
    new Uint8Array(memory.buffer).set([0xff, 0x41]);
    call("log_emit", 0, 2);
    expect(logs.collected().logs).toEqual(["\ufffdA"]);
    for (let index = 0; index < 100; index++) call("log_emit", 1, 1);
    const { logs: kept, logsDropped } = logs.collected();
    expect(kept.length + logsDropped).toBe(101);
    expect(kept.length).toBeLessThan(60);
  });

  test("wallet and price are those of the tick", () => {
    expect(call("wallet_balance")).toBe(9_000_000_000_000_000_000n);
    expect(call("node_price")).toBe(1_500n);
    expect(call("wallet_receipt_count")).toBe(2);
  });

  test.each([
    ["fits", 0, 50, 3, 3],
    ["has an index too high", 2, 50, 100, -1],
    ["has an index below zero", -1, 50, 100, -1],
    ["is longer than the buffer", 1, 50, 99, -4],
    ["would lie beyond the end", 1, memoryBytes - 99, 100, -4],
  ])("wallet_receipt that %s", (_, index, pointer, capacity, code) => {
    expect(call("wallet_receipt", index, pointer, capacity)).toBe(code);
    if (code === 3) expect([...new Uint8Array(memory.buffer, 50, 3)]).toEqual([1, 2, 3]);
  });

  test("an agent's memory may have grown since the last call", () => {
    memory.buffer = new ArrayBuffer(2 * memoryBytes);
    expect(call("rand_bytes", memoryBytes + 10, 8)).toBe(0);
  });
});
