import type { Clock } from "@godwit/common/clock";
import { FakeClock } from "@godwit/testing";
import { beforeEach, describe, expect, test } from "vitest";
import type { Answer, Load, Request } from "../messages.ts";
import { type Beat, monotonicNs } from "../pulse.ts";
import {
  type Job,
  Lane,
  type LaneThread,
  type Loss,
  type LossCause,
  type Outcome,
  type ThreadListener,
  type ThreadSource,
  type WorkerLost,
} from "./lane.ts";

const limits = { tickTimeoutMs: 100, callTimeoutMs: 1_000 };
const nothing = { state: undefined, events: undefined, logs: [], logsDropped: 0 };
const fine: Answer = { kind: "ok", moreWork: false, elapsedNs: 1n, ...nothing };

class FakeThread implements LaneThread {
  capacity = 1;
  ready = false;
  loss: Loss | undefined;
  readonly sent: Request[] = [];
  now: Beat = { kind: "idle" };
  #listener: ThreadListener | undefined;

  listen(listener: ThreadListener): void {
    this.#listener = listener;
  }
  send(request: Request): void {
    this.sent.push(request);
  }
  beat(): Beat {
    return this.now;
  }
  becomeReady(): void {
    this.ready = true;
    this.#listener?.ready();
  }
  answer(): void {
    this.#listener?.answered(fine);
  }
  lose(cause: LossCause, at = 0): void {
    this.loss = { ...cause, ranNs: 0n, replayed: 0, at };
    this.#listener?.lost(this.loss);
  }
}

class FakeThreads implements ThreadSource {
  readonly taken: FakeThread[] = [];
  capacity = 1;
  take(): FakeThread {
    const thread = new FakeThread();
    thread.capacity = this.capacity;
    this.taken.push(thread);
    return thread;
  }
  retire(thread: LaneThread, cause: LossCause): void {
    (thread as FakeThread).lose(cause);
  }
  last(): FakeThread {
    const thread = this.taken.at(-1);
    if (thread === undefined) throw new Error("no thread was taken");
    return thread;
  }
}

let clock: FakeClock;
let threads: FakeThreads;
let lane: Lane;
let lost: WorkerLost[];

beforeEach(() => {
  clock = new FakeClock();
  threads = new FakeThreads();
  lost = [];
  lane = new Lane({ clock, threads, onWorkerLost: (one) => lost.push(one) }, limits);
});

function jobOf(agent: number): Job & { readonly outcomes: Outcome[] } {
  const outcomes: Outcome[] = [];
  const view = { wallNs: 0n, balanceMicrocents: 0n, pricePerSecond: 0n, receipts: [] };
  return {
    agentId: `agent-${agent}`,
    outcomes,
    request: () => ({ kind: "tick", agent, load: undefined, view }),
    finish: (outcome) => outcomes.push(outcome),
  };
}

function sentAgents(thread: FakeThread): number[] {
  return thread.sent.map(({ agent }) => agent);
}

describe("a lane", () => {
  test("L-1: sends as many jobs as the worker takes, in the order in which they came, once it is ready", () => {
    const [first, second] = [jobOf(1), jobOf(2)];
    lane.submit(first);
    lane.submit(second);
    const thread = threads.last();
    expect(thread.sent).toEqual([]);
    thread.becomeReady();
    expect(sentAgents(thread)).toEqual([1]);
    thread.answer();
    expect(sentAgents(thread)).toEqual([1, 2]);
    expect(first.outcomes.map(({ kind }) => kind)).toEqual(["answered"]);
    expect(second.outcomes).toEqual([]);
  });

  test("L-2: a job ages only while its agent runs, however long it waits", async () => {
    const [first, second] = [jobOf(1), jobOf(2)];
    lane.submit(first);
    lane.submit(second);
    threads.last().becomeReady();
    // It begins later than this test can last, so that the agent has used nothing of what passes on the fake clock.
    threads.last().now = { kind: "tick", sinceNs: monotonicNs() + 3_600_000_000_000n };
    await clock.advance(20 * limits.tickTimeoutMs);
    expect(lost).toEqual([]);
    threads.last().now = { kind: "tick", sinceNs: monotonicNs() - 100_000_000n };
    await clock.advance(limits.tickTimeoutMs);
    expect(lost).toMatchObject([{ reason: "time-out", agentId: "agent-1" }]);
    expect(second.outcomes).toEqual([]);
  });

  test("L-2: a process that stood still does not end a worker that stood still with it", async () => {
    let stoodStillMs = 0;
    const stopped: Clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs() + stoodStillMs,
      sleep: (ms, signal) => clock.sleep(ms, signal),
    };
    lane = new Lane({ clock: stopped, threads, onWorkerLost: (one) => lost.push(one) }, limits);
    lane.submit(jobOf(1));
    threads.last().becomeReady();
    threads.last().now = { kind: "tick", sinceNs: monotonicNs() - 20_000_000_000n };
    stoodStillMs = 20_000;
    await clock.advance(limits.tickTimeoutMs);
    expect(lost).toEqual([]);
    await clock.advance(limits.tickTimeoutMs);
    expect(lost).toMatchObject([{ reason: "time-out" }]);
  });

  test("L-3: the jobs that waited go on in the new worker; the one that ended the old one hears of it", () => {
    const jobs = [1, 2, 3].map(jobOf);
    for (const job of jobs) lane.submit(job);
    const old = threads.last();
    old.becomeReady();
    old.lose({ reason: "memory", message: "too much" });
    expect(jobs[0]?.outcomes).toMatchObject([{ kind: "lost", loss: { reason: "memory" } }]);
    const fresh = threads.last();
    fresh.becomeReady();
    fresh.answer();
    expect(sentAgents(fresh)).toEqual([2, 3]);
    expect(lost).toMatchObject([{ agentId: "agent-1" }]);
  });

  test("L-1, L-3: of the jobs in a lost worker the one that it had begun is at fault; what was not answered is done again, in order", () => {
    threads.capacity = 4;
    const jobs = [0, 1, 2, 3, 4, 5].map(jobOf);
    for (const job of jobs) lane.submit(job);
    const old = threads.last();
    old.becomeReady();
    expect(sentAgents(old)).toEqual([0, 1, 2, 3]);
    old.answer();
    expect(sentAgents(old)).toEqual([0, 1, 2, 3, 4]);
    old.lose({ reason: "time-out", message: "too long" }, 1);
    expect(lost).toMatchObject([{ agentId: "agent-2" }]);
    expect(jobs.map(({ outcomes }) => outcomes.map(({ kind }) => kind))).toEqual([
      ["answered"],
      [],
      ["lost"],
      [],
      [],
      [],
    ]);
    threads.last().becomeReady();
    expect(sentAgents(threads.last())).toEqual([1, 3, 4, 5]);
  });

  test("large states are not sent ahead", () => {
    threads.capacity = 4;
    const load = { state: new Uint8Array(5 << 20) } as unknown as Load;
    const view = { wallNs: 0n, balanceMicrocents: 0n, pricePerSecond: 0n, receipts: [] };
    const large = (agent: number): Job => ({
      ...jobOf(agent),
      request: () => ({ kind: "tick", agent, load, view }),
    });
    for (const job of [jobOf(1), large(2), large(3), jobOf(4)]) lane.submit(job);
    const thread = threads.last();
    thread.becomeReady();
    expect(sentAgents(thread)).toEqual([1, 2]);
    thread.answer();
    expect(sentAgents(thread)).toEqual([1, 2]);
    thread.answer();
    expect(sentAgents(thread)).toEqual([1, 2, 3]);
  });

  test("L-3: a job that was given up after it was sent is not done again in a new worker", () => {
    threads.capacity = 4;
    const [first, second, third] = [jobOf(1), jobOf(2), jobOf(3)];
    for (const job of [first, second, third]) lane.submit(job);
    const old = threads.last();
    old.becomeReady();
    expect(lane.withdraw(second)).toBe(false);
    old.lose({ reason: "crash", message: "gone" });
    threads.last().becomeReady();
    expect(sentAgents(threads.last())).toEqual([3]);
    expect(second.outcomes).toEqual([]);
  });

  test("L-3: a worker that is lost while it does nothing is nobody's fault", () => {
    lane.warm();
    threads.last().becomeReady();
    threads.last().lose({ reason: "crash", message: "gone" });
    expect(lost).toMatchObject([{ agentId: undefined }]);
    expect(threads.taken).toHaveLength(2);
  });

  test("L-4: workers that never get ready are replaced ever more slowly, and the job waits", async () => {
    const job = jobOf(1);
    lane.submit(job);
    const waits = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
    for (const [index, waitMs] of waits.entries()) {
      threads.last().lose({ reason: "crash", message: "cannot start" });
      await clock.advance(waitMs - 1);
      expect(threads.taken).toHaveLength(index + 1);
      await clock.advance(1);
      expect(threads.taken).toHaveLength(index + 2);
    }
    threads.last().becomeReady();
    threads.last().answer();
    expect(job.outcomes).toMatchObject([{ kind: "answered" }]);
  });

  test("a worker that has a job, calls no agent and does not answer is given up in the end", async () => {
    const job = jobOf(1);
    lane.submit(job);
    threads.last().becomeReady();
    await clock.advance(29_000);
    expect(lost).toEqual([]);
    await clock.advance(2_000);
    expect(lost).toMatchObject([{ reason: "crash", agentId: "agent-1" }]);
  });

  test("a job that is taken back is never sent", () => {
    const [first, second, third] = [jobOf(1), jobOf(2), jobOf(3)];
    for (const job of [first, second, third]) lane.submit(job);
    threads.last().becomeReady();
    expect(lane.withdraw(first)).toBe(false);
    expect(lane.withdraw(second)).toBe(true);
    threads.last().answer();
    expect(sentAgents(threads.last())).toEqual([1, 3]);
  });

  test("a lane that is stopped ends its worker and takes no other", async () => {
    lane.submit(jobOf(1));
    threads.last().becomeReady();
    lane.stop();
    await clock.advance(10_000);
    expect(threads.taken).toHaveLength(1);
    expect(threads.last().loss?.reason).toBe("ended");
    expect(lost).toEqual([]);
    expect(clock.sleeping).toBe(0);
  });
});
