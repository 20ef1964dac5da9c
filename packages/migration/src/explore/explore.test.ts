import { describe, expect, test } from "vitest";
import { BitLayout } from "./engine/bit-layout.ts";
import { Interner, keyOf } from "./engine/interner.ts";
import { type System, search } from "./engine/search.ts";
import { StateTable } from "./engine/state-table.ts";
import { Cluster, type ClusterOptions } from "./model/cluster.ts";
import { Replicas, type ReplicasOptions } from "./model/replicas.ts";
import { counterexampleTable } from "./report.ts";

const patient = { timeout: 300_000 };

describe("a small exploration", patient, () => {
  const small: readonly (readonly [string, Partial<ClusterOptions>, ClusterOptions["budgets"]])[] = [
    ["a creation whose answers are lost", { begins: "acquiring" }, { ticks: 1, losses: 1, crashes: 1 }],
    ["a migration with losses and duplicates", {}, { ticks: 1, migrations: 1, losses: 1, duplicates: 1 }],
    ["a migration with a crash", {}, { ticks: 1, migrations: 1, crashes: 1 }],
    ["a session that ends", {}, { ticks: 1, expiries: 1, losses: 1 }],
    [
      "a session that ends, and nobody else is there",
      { hosts: ["A"], begins: "acquiring" },
      { ticks: 1, expiries: 1, losses: 1 },
    ],
    ["a release with a lost answer", {}, { ticks: 1, releases: 1, losses: 1 }],
    ["a store that is wiped", {}, { ticks: 1, wipes: 1 }],
    ["a store that is rolled back", {}, { rollbacks: 1 }],
    ["a crash, where earlier sessions are closed at once", { trustDataLock: true }, { ticks: 1, crashes: 1 }],
  ];
  test.each(small)("EI-1, EI-2, EI-3, EI-10 and liveness hold for %s", (_name, options, budgets) => {
    const { verdict, counterexample } = search(new Cluster({ hosts: ["A", "B"], ...options, budgets }), {
      maxStates: 2_000_000,
    });
    expect(counterexample === undefined ? verdict : counterexampleTable(counterexample)).toBe("holds");
  });
});

describe("two replicas of the registry, with clocks", patient, () => {
  const run = (options: ReplicasOptions) => search(new Replicas(options), { maxStates: 400_000 });

  test("SL-2, SL-3: nobody ticks any more when a replica closes a session, whatever is slow", () => {
    expect(run({ renewals: 1, openings: 0, wipes: 0 }).verdict).toBe("holds");
  });

  test("SL-2: a grace that ends before the lease does is found", () => {
    const { verdict, counterexample } = run({ renewals: 0, openings: 0, wipes: 0, graceSteps: -1 });
    expect(verdict).toBe("violated");
    expect(counterexample?.rule).toMatch(/EI-1/);
  });

  test("GA-6: a quarantine that a replica ends before the leases do is found", () => {
    const { verdict, counterexample } = run({ renewals: 0, openings: 0, wipes: 1, quarantineSteps: 1 });
    expect(verdict).toBe("violated");
    expect(counterexample?.rule).toMatch(/EI-1/);
  });
});

/** Counts up to `last`; from `trap` on it cannot come back to 0, which is the goal. */
class Counter implements System {
  readonly words = 1;
  readonly #last: number;
  readonly #trap: number;

  constructor(last: number, trap: number) {
    this.#last = last;
    this.#trap = trap;
  }

  initial = () => new Int32Array(1);
  isGoal = (state: Int32Array) => state[0] === 0;
  describe = (state: Int32Array) => new Map([["count", `${state[0]}`]]);
  violation = (state: Int32Array) => (state[0] === this.#last ? "it counted too far" : undefined);
  expand: System["expand"] = (state, emit) => {
    const count = state[0] as number;
    const next = new Int32Array(1);
    const step = { who: "counter", event: "counts", fault: true, violation: undefined };
    next[0] = count + 1;
    if (count < this.#trap) emit(next, step);
    next[0] = 0;
    if (count < this.#trap) emit(next, { ...step, event: "starts again", fault: false });
  };
}

describe("the search", () => {
  test("a broken rule is reported with the shortest way to it", () => {
    const { verdict, counterexample } = search(new Counter(3, 9), { maxStates: 100 });
    expect(verdict).toBe("violated");
    expect(counterexample?.steps.map(({ changes }) => changes)).toEqual([
      ["count: 0 → 1"],
      ["count: 1 → 2"],
      ["count: 2 → 3"],
    ]);
  });

  test("a state from which no goal can be reached without faults is reported", () => {
    const { verdict, counterexample } = search(new Counter(99, 4), { maxStates: 100 });
    expect(verdict).toBe("stuck");
    expect(counterexample?.steps).toHaveLength(4);
  });

  test("what is not finished is not said to hold", () => {
    expect(search(new Counter(99, 98), { maxStates: 10 }).verdict).toBe("too-large");
  });
});

describe("the table of states", () => {
  test("each state has one number, also after it has grown many times", () => {
    const table = new StateTable(2);
    const words = new Int32Array(2);
    for (let at = 0; at < 300_000; at++) {
      words.set([at % 1_000, Math.trunc(at / 1_000)]);
      if (table.add(words) !== at) expect.fail(`state ${at} has another number`);
    }
    for (let at = 0; at < 300_000; at += 777) {
      words.set([at % 1_000, Math.trunc(at / 1_000)]);
      expect(table.add(words)).toBe(-1 - at);
    }
    table.read(123_456, words);
    expect([...words]).toEqual([456, 123]);
  });

  test("fields of any width come back as they were put in", () => {
    const layout = new BitLayout([20, 21, 3, 31, 18]);
    const words = new Int32Array(layout.words);
    const fields = Int32Array.of(2 ** 20 - 1, 2 ** 21 - 2, 5, 2 ** 31 - 1, 1);
    layout.pack(fields, words);
    const back = new Int32Array(5);
    layout.unpack(words, back);
    expect(back).toEqual(fields);
    expect(layout.words).toBe(3);
  });
});

describe("interned values", () => {
  test("equal values have one number, whatever the order of their properties", () => {
    const values = new Interner<object>("values", 8);
    expect(values.number({ a: 1n, b: [undefined, "x"] })).toBe(0);
    expect(values.number({ b: [undefined, "x"], a: 1n, c: undefined })).toBe(0);
    expect(values.number({ a: 1, b: [undefined, "x"] })).toBe(1);
    expect(keyOf({ a: "1" })).not.toBe(keyOf({ a: 1 }));
  });

  test("a model that is larger than its layout ends loudly", () => {
    const values = new Interner<number>("values", 1);
    values.number(1);
    values.number(2);
    expect(() => values.number(3)).toThrow(RangeError);
  });
});
