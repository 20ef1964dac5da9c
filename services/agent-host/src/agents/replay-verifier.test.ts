import { systemClock } from "@godwit/common/clock";
import { type Checkpoint, digestOf } from "@godwit/lineage";
import { ada, createAgent, next } from "@godwit/lineage/testing";
import type { ReplayedTicks, ReplayResult } from "@godwit/sandbox";
import pino from "pino";
import { describe, expect, test } from "vitest";
import { FakeInstance, FakeSandbox, textBytes } from "../../test/support/fake-sandbox.ts";
import { cleanRunsToRelax, type DivergencePolicy, isDue, type ReplayMode } from "./replay-policy.ts";
import { ReplayVerifier } from "./replay-verifier.ts";
import { ReplayWindow } from "./replay-window.ts";

interface Recipe {
  readonly mode?: ReplayMode;
  readonly interval?: number;
  readonly policy?: DivergencePolicy;
  readonly migrates?: boolean;
}

/** One agent whose instance does what it is told when its ticks are run again. */
class Bench {
  latest: Checkpoint = createAgent(ada);
  tick = 0n;
  readonly window = new ReplayWindow({ ticks: 16, maxBytes: 1_000_000, untilVerified: true }, this.latest);
  readonly replayed: bigint[] = [];
  readonly remarks: string[] = [];
  readonly outcomes: string[] = [];
  readonly stops: string[] = [];
  migrations = 0;
  /** The states come out differently. */
  changes = false;
  isHere = true;
  answer: (work: ReplayedTicks) => ReplayResult = (work) => this.honest(work);
  readonly verifier: ReplayVerifier;
  readonly instance = new FakeInstance(new FakeSandbox(), textBytes("tick 0"));
  readonly agent = {
    window: this.window,
    instance: this.instance,
    remark: (line: string) => void this.remarks.push(line),
    stop: async (how: string) => void this.stops.push(how),
  };

  constructor({ mode = "full", interval = 1, policy = "log", migrates = true }: Recipe = {}) {
    this.instance.replay = async (work) => {
      this.replayed.push(...work.ticks.map(({ tick }) => tick));
      return this.answer(work);
    };
    this.verifier = new ReplayVerifier(
      {
        agent: (agentId) => (this.isHere && agentId === "agent" ? this.agent : undefined),
        migrate: async () => {
          this.migrations++;
          return migrates;
        },
        clock: systemClock,
        logger: pino({ level: "silent" }),
        onSegment: ({ outcome }) => void this.outcomes.push(outcome),
      },
      { mode, verifyIntervalTicks: interval, onDivergence: policy },
    );
  }

  /** So many ticks and a checkpoint. */
  ticks(ticks: number): void {
    for (let made = 0; made < ticks; made++) this.window.ticked({ tick: ++this.tick, events: new Uint8Array(0) });
    const log = this.window.openLog;
    const text = `tick ${this.tick}`;
    this.latest = next(this.latest, { host: ada, ticks: BigInt(ticks), text, header: { eventsDigest: digestOf(log) } });
    this.window.committed(this.latest, log);
  }

  /** So many ticks and a checkpoint; resolves once all that follows is over. */
  async lives(ticks: number): Promise<void> {
    this.ticks(ticks);
    this.verifier.committed("agent");
    await this.verifier.settled();
  }

  /** A checkpoint for a tick at which nothing ran. */
  async funded(text: string): Promise<void> {
    this.tick++;
    const log = this.window.openLog;
    this.latest = next(this.latest, { host: ada, ticks: 1n, text, header: { eventsDigest: digestOf(log) } });
    this.window.committed(this.latest, log);
    this.verifier.committed("agent");
    await this.verifier.settled();
  }

  /** Every tick leaves its number as the state. */
  readonly honest = ({ ticks }: ReplayedTicks): ReplayResult => {
    const changed = ticks.find(({ tick, stateDigest }) => {
      return stateDigest !== undefined && (this.changes || stateDigest !== digestOf(textBytes(`tick ${tick}`)));
    });
    if (changed !== undefined) {
      return { kind: "diverged", tick: changed.tick, call: undefined, reason: "the state after it is another one" };
    }
    return { kind: "replayed", state: textBytes(`tick ${ticks.at(-1)?.tick ?? 0n}`), elapsedNs: 5n };
  };
}

const otherwise = (): ReplayResult => ({ kind: "diverged", tick: 2n, call: 0, reason: "it asked for the time" });

describe("a host that runs its agents' ticks again", () => {
  test("T-47: runs every tick again, each once", async () => {
    const bench = new Bench();
    await bench.lives(2);
    await bench.lives(3);
    expect(bench.replayed).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(bench.outcomes).toEqual(["verified", "verified"]);
    expect(bench.window.verifiedTick).toBe(5n);
    expect(bench.verifier.standing("agent").divergences).toBe(0);
  });

  test("notes nothing of an agent that left while its ticks were run again, and tells what came of them", async () => {
    const bench = new Bench({ policy: "log" });
    bench.answer = () => {
      bench.isHere = false;
      bench.verifier.left("agent");
      return otherwise();
    };
    await bench.lives(2);
    expect(bench.outcomes).toEqual(["diverged"]);
    expect(bench.verifier.standing("agent").divergences).toBe(0);
  });

  test("--verify-interval: waits for so many ticks, and leaves none out then", async () => {
    const bench = new Bench({ interval: 5 });
    await bench.lives(2);
    await bench.lives(2);
    expect(bench.replayed).toEqual([]);
    await bench.lives(1);
    expect(bench.replayed).toEqual([1n, 2n, 3n, 4n, 5n]);
  });

  test.each<[ReplayMode, number]>([
    ["off", 1],
    ["on-migrate", 1],
    ["full", 0],
  ])("--replay-mode %s with an interval of %i: runs none again", async (mode, interval) => {
    const bench = new Bench({ mode, interval });
    await bench.lives(20);
    expect(bench.replayed).toEqual([]);
  });

  test("T-47: a state that came out differently is a divergence, though every call was the same", async () => {
    const bench = new Bench();
    bench.changes = true;
    await bench.lives(2);
    expect(bench.outcomes).toEqual(["diverged"]);
    expect(bench.remarks[0]).toContain("tick 2: the state after it is another one");
  });

  test("what could not be finished is tried again with the next checkpoint, and is no divergence", async () => {
    const bench = new Bench();
    bench.answer = () => ({ kind: "failed", tick: 1n, reason: "worker-lost", message: "gone" });
    await bench.lives(2);
    expect([bench.outcomes, bench.stops, bench.remarks]).toEqual([["unfinished"], [], []]);
    bench.answer = bench.honest;
    await bench.lives(1);
    expect(bench.outcomes).toEqual(["unfinished", "verified", "verified"]);
  });

  test("what waits of an agent is run again in one go, and the state of each checkpoint is compared", async () => {
    const bench = new Bench();
    const gone = (): ReplayResult => ({ kind: "failed", tick: bench.tick, reason: "worker-lost", message: "gone" });
    bench.answer = gone;
    for (const ticks of [1, 2, 3]) await bench.lives(ticks);
    expect(bench.outcomes).toEqual(["unfinished", "verified", "unfinished", "verified", "unfinished"]);

    const other = new Bench();
    other.answer = () => ({ kind: "failed", tick: 1n, reason: "worker-lost", message: "gone" });
    for (const ticks of [1, 2, 3]) await other.lives(ticks);
    other.replayed.length = 0;
    other.answer = (work) => {
      expect(work.ticks.filter(({ stateDigest }) => stateDigest !== undefined).map(({ tick }) => tick)).toEqual([
        1n,
        3n,
        6n,
        7n,
      ]);
      return { kind: "diverged", tick: 5n, call: 1, reason: "it asked for the time" };
    };
    other.outcomes.length = 0;
    await other.lives(1);
    expect(other.replayed).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n]);
    expect(other.outcomes).toEqual(["verified", "verified", "diverged"]);
    expect(other.window.unverified).toEqual([]);
  });

  test("a checkpoint after no tick, as of a funding, has the state of the one before", async () => {
    const bench = new Bench();
    await bench.funded("tick 0");
    await bench.lives(1);
    expect([bench.replayed, bench.outcomes]).toEqual([[2n], ["verified", "verified"]]);
    bench.outcomes.length = 0;
    await bench.funded("another");
    await bench.lives(1);
    expect(bench.outcomes).toEqual(["diverged"]);
    expect(bench.remarks[0]).toContain("tick 3: the state after it is another one");
  });
});

describe("T-47, T-49: what follows from a divergence", () => {
  test("log: it is told, it ticks on, and what is behind is not told again", async () => {
    const bench = new Bench({ policy: "log" });
    bench.answer = otherwise;
    await bench.lives(2);
    expect([bench.stops, bench.migrations, bench.verifier.standing("agent").divergences]).toEqual([[], 0, 1]);
    expect(bench.remarks).toEqual([
      "run again, its ticks came out differently: tick 2, call 0: it asked for the time (policy log)",
    ]);
    expect(bench.window.unverified).toEqual([]);
  });

  test("pause: it is stopped", async () => {
    const bench = new Bench({ policy: "pause" });
    bench.answer = otherwise;
    await bench.lives(2);
    expect([bench.stops, bench.migrations]).toEqual([["stopped"], 0]);
  });

  test("migrate: it is moved, and stopped only if nobody takes it", async () => {
    const taken = new Bench({ policy: "migrate" });
    taken.answer = otherwise;
    await taken.lives(2);
    expect([taken.stops, taken.migrations]).toEqual([[], 1]);
    const left = new Bench({ policy: "migrate", migrates: false });
    left.answer = otherwise;
    await left.lives(2);
    expect([left.stops, left.migrations]).toEqual([["stopped"], 1]);
  });

  test("intensify: it is looked at after every checkpoint, until it was right often enough", async () => {
    const bench = new Bench({ policy: "intensify", interval: 3 });
    const honest = bench.answer;
    bench.answer = otherwise;
    await bench.lives(3);
    bench.answer = honest;
    bench.replayed.length = 0;
    for (let run = 0; run < cleanRunsToRelax; run++) await bench.lives(1);
    expect(bench.replayed).toHaveLength(cleanRunsToRelax);
    expect(bench.verifier.standing("agent").closeRuns).toBe(0);
    await bench.lives(1);
    expect(bench.replayed).toHaveLength(cleanRunsToRelax);
  });

  test("an agent that is gone leaves no note", async () => {
    const bench = new Bench();
    bench.answer = otherwise;
    await bench.lives(1);
    bench.verifier.left("agent");
    expect(bench.verifier.standing("agent")).toEqual({ divergences: 0, closeRuns: 0 });
  });
});

test("the replays of many agents are under way together, and of each one only one", async () => {
  const agentIds = Array.from({ length: 40 }, (_, n) => `agent ${n}`);
  const begun: string[] = [];
  const held = Promise.withResolvers<void>();
  const agents = new Map(agentIds.map((agentId) => [agentId, new Bench()]));
  for (const [agentId, bench] of agents) {
    bench.instance.replay = async (work) => {
      begun.push(agentId);
      await held.promise;
      return bench.honest(work);
    };
  }
  const verifier = new ReplayVerifier(
    {
      agent: (agentId) => agents.get(agentId)?.agent,
      migrate: async () => false,
      clock: systemClock,
      logger: pino({ level: "silent" }),
      onSegment: () => {},
    },
    { mode: "full", verifyIntervalTicks: 1, onDivergence: "log" },
  );
  const allLive = () => {
    for (const [agentId, bench] of agents) {
      bench.ticks(1);
      verifier.committed(agentId);
    }
  };
  allLive();
  allLive();
  expect(begun).toEqual(agentIds.slice(0, 32));
  held.resolve();
  await verifier.settled();
  expect([...agents.values()].map(({ window }) => window.unverifiedTicks)).toEqual(agentIds.map(() => 0));
});

test("an agent is due by the ticks that were not run again", () => {
  const rules = { mode: "full", verifyIntervalTicks: 5, onDivergence: "log" } as const;
  expect([isDue(4, 0, rules), isDue(5, 0, rules), isDue(1, 1, rules), isDue(0, 1, rules)]).toEqual([
    false,
    true,
    true,
    false,
  ]);
});
