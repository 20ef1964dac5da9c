import { describe, expect, test } from "vitest";
import { basesOfSpine, standing } from "./lineage-walk.ts";
import type { Base, CheckpointRef } from "./record.ts";

const ref = (major: bigint, tick: bigint, digest = `checkpoint ${major}/${tick}`, era = 0n): CheckpointRef => ({
  era,
  major,
  tick,
  digest,
});
const base = (major: bigint, startedFrom: CheckpointRef, era = 0n): Base => ({ era, major, startedFrom });

/** Major 2 started from tick 20 of major 1, that from tick 10 of major 0. */
const bases = [base(2n, ref(1n, 20n)), base(1n, ref(0n, 10n)), base(0n, ref(0n, 0n))];
const head = ref(2n, 30n);

describe("on the lineage (§4)", () => {
  test.each([
    ["the head", head],
    ["what the newest major made before it", ref(2n, 21n)],
    ["what the newest major made after it", ref(2n, 99n)],
    ["the checkpoint that the newest major started from", ref(1n, 20n)],
    ["what that one's major made before", ref(1n, 11n)],
    ["what the major before that started with", ref(0n, 10n)],
    ["tick 0", ref(0n, 0n)],
  ])("§4: is %s", (_, candidate) => {
    expect(standing(bases, head, candidate)).toBe("on-lineage");
  });

  test.each([
    ["what an earlier major made after the next one had started", ref(1n, 21n)],
    ["what the first major made after the second had started", ref(0n, 11n)],
    ["a checkpoint of a major that is yet to come", ref(3n, 31n)],
    ["a checkpoint of another era", ref(2n, 30n, "any", 1n)],
  ])("EI-3: is not %s: an orphan", (_, candidate) => {
    expect(standing(bases, head, candidate)).toBe("orphan");
  });

  test("§4: goes on from the major of the checkpoint that was started from, past majors that left nothing", () => {
    // Majors 1 to 4 started from tick 10 of major 0 and are one entry; 2 had gone to tick 15 before it was given up.
    const merged = [base(5n, ref(4n, 12n)), base(4n, ref(0n, 10n)), base(0n, ref(0n, 0n))];
    expect(standing(merged, ref(5n, 13n), ref(4n, 12n))).toBe("on-lineage");
    expect(standing(merged, ref(5n, 13n), ref(0n, 10n))).toBe("on-lineage");
    expect(standing(merged, ref(5n, 13n), ref(2n, 11n))).toBe("orphan");
    expect(standing(merged, ref(5n, 13n), ref(0n, 11n))).toBe("orphan");
  });

  test("§4: does not meet a major that the lineage went back behind", () => {
    // Major 3 was recovered from tick 8 of major 0: all of majors 1 and 2 was given up.
    const rolledBack = [base(3n, ref(0n, 8n)), ...bases];
    const now = ref(3n, 9n);
    expect(standing(rolledBack, now, ref(0n, 8n))).toBe("on-lineage");
    for (const given of [ref(0n, 9n), ref(0n, 10n), ref(1n, 11n), ref(2n, 30n)]) {
      expect(standing(rolledBack, now, given)).toBe("orphan");
    }
  });

  test("§4: counts what is older than the entries that are kept as an orphan", () => {
    const kept = bases.slice(0, 2);
    expect(standing(kept, head, ref(0n, 10n))).toBe("on-lineage"); // it is named by the oldest entry
    expect(standing(bases.slice(0, 1), head, ref(1n, 20n))).toBe("on-lineage");
    expect(standing(bases.slice(0, 1), head, ref(0n, 10n))).toBe("orphan");
    expect(standing([], head, head)).toBe("orphan");
  });

  test("EI-7: ends, with nothing but orphans, where bases that somebody made up lead round in a circle", () => {
    const circle = [base(2n, ref(1n, 20n)), base(1n, ref(2n, 10n))];
    expect(standing(circle, head, ref(0n, 5n))).toBe("orphan");
  });

  test("§2: follows the lineage from one era into the one before", () => {
    const later = [base(0n, ref(2n, 25n), 4n), ...bases];
    const now = ref(0n, 26n, "after the loss", 4n);
    expect(standing(later, now, ref(2n, 25n))).toBe("on-lineage");
    expect(standing(later, now, ref(2n, 26n))).toBe("orphan");
    expect(standing(later, now, ref(0n, 10n))).toBe("on-lineage");
    expect(standing(later, now, ref(0n, 99n, "any", 4n))).toBe("on-lineage");
  });
});

test("GA-9: a spine stands for the bases with which the agent came there", () => {
  const spine = [
    { ref: ref(2n, 30n), base: ref(1n, 20n) },
    { ref: ref(1n, 20n), base: ref(0n, 10n) },
    { ref: ref(0n, 10n), base: ref(0n, 0n) },
    { ref: ref(0n, 0n), base: undefined },
  ];
  expect(basesOfSpine(spine)).toEqual(bases);
  expect(basesOfSpine(spine.slice(-1)), "as acquire makes it").toEqual([base(0n, ref(0n, 0n))]);
  const long = Array.from({ length: 100 }, (_, at) => ({
    ref: ref(BigInt(200 - at), 1n),
    base: ref(BigInt(199 - at), 1n),
  }));
  expect(basesOfSpine(long)).toHaveLength(64);
});

describe("EI-11: another checkpoint of one major and tick", () => {
  test.each([
    ["the head", ref(2n, 30n, "fork")],
    ["the newest base", ref(1n, 20n, "fork")],
    ["an older base", ref(0n, 10n, "fork")],
    ["tick 0", ref(0n, 0n, "fork")],
  ])("EI-11: as %s is divergent", (_, candidate) => {
    expect(standing(bases, head, candidate)).toBe("divergent");
  });

  test("EI-11: is found against a head off the walk too, as an earlier owner left it", () => {
    const recovered = [base(1n, ref(0n, 5n)), base(0n, ref(0n, 0n))];
    expect(standing(recovered, ref(0n, 9n), ref(0n, 9n, "fork"))).toBe("divergent");
  });

  test("EI-11: is another thing than one tick under two majors, which a recovery makes every day", () => {
    expect(standing(bases, head, ref(1n, 30n))).toBe("orphan");
    expect(standing(bases, head, ref(2n, 20n))).toBe("on-lineage");
  });
});
