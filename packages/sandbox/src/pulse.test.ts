import { describe, expect, test } from "vitest";
import { judge, Pulse } from "./pulse.ts";

const limits = { tickTimeoutMs: 100, callTimeoutMs: 1_000 };
const startNs = 5_000_000_000n;
const ms = 1_000_000n;

describe("the pulse of a worker", () => {
  test("tells what runs and since when, also through the shared word of another thread", () => {
    const worker = new Pulse();
    const host = new Pulse(worker.buffer);
    expect(host.read()).toEqual({ kind: "idle" });
    const sinceNs = worker.begin("tick");
    expect(host.read()).toEqual({ kind: "tick", sinceNs });
    worker.begin("call");
    expect(host.read().kind).toBe("call");
    worker.end();
    expect(host.read()).toEqual({ kind: "idle" });
  });

  test("counts the requests that were begun, also past the end of its numbers", () => {
    const worker = new Pulse();
    const host = new Pulse(worker.buffer);
    expect(host.begunSince(0)).toBe(0);
    worker.next();
    worker.next();
    expect(host.begunSince(0)).toBe(2);
    expect(host.begunSince(1)).toBe(1);
    new Int32Array(worker.buffer, 8, 1)[0] = 2 ** 31 - 1;
    worker.next();
    expect(host.begunSince(2 ** 31 - 1)).toBe(1);
  });

  test("a tick is overdue at its limit and not before", () => {
    const tick = { kind: "tick", sinceNs: startNs } as const;
    expect(judge(tick, startNs + 99n * ms, limits)).toEqual({ kind: "running", leftMs: 1 });
    expect(judge(tick, startNs + 100n * ms, limits)).toEqual({ kind: "overdue", call: "tick", ranNs: 100n * ms });
  });

  test("any other call has a limit of its own", () => {
    const call = { kind: "call", sinceNs: startNs } as const;
    expect(judge(call, startNs + 100n * ms, limits)).toEqual({ kind: "running", leftMs: 900 });
    expect(judge(call, startNs + 1_001n * ms, limits).kind).toBe("overdue");
  });

  test("a worker that calls no agent is never overdue", () => {
    expect(judge({ kind: "idle" }, startNs, limits)).toEqual({ kind: "idle" });
  });
});
