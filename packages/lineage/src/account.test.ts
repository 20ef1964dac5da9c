import type { SignedBytes } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { type Checkpoint, refOf, verifyLineage } from "./index.ts";
import { ada, bob, cleo, createAgent, next, registry, travelled } from "./testing/story.ts";

const key = registry.publicKey;
const report = (...checkpoints: readonly Checkpoint[]) => verifyLineage(signedOf(checkpoints), key);
const signedOf = (checkpoints: readonly Checkpoint[]): readonly SignedBytes[] =>
  checkpoints.map(({ signed }) => signed);

const { created, adaTicks, bobFirst, bobLast, cleoFirst, chain } = travelled();
const recovered = { origin: "recovered" } as const;

describe("what a lineage tells", () => {
  test("an owner is told with who it came from, when it was granted, and what it charged", () => {
    const { owners } = report(...chain, bobLast);
    expect(owners.map(({ hostId, fromHostId, grantedAtNs }) => ({ hostId, fromHostId, grantedAtNs }))).toEqual([
      { hostId: ada.hostId, fromHostId: undefined, grantedAtNs: 1n },
      { hostId: bob.hostId, fromHostId: ada.hostId, grantedAtNs: 1n },
      { hostId: cleo.hostId, fromHostId: bob.hostId, grantedAtNs: 1n },
    ]);
    const [first, second, third] = owners.map(({ receipts }) => receipts.cost);
    expect([first, second, third]).toEqual([
      created.header.budget - adaTicks[1].header.budget,
      adaTicks[1].header.budget - bobFirst.header.budget,
      bobFirst.header.budget - (chain.at(-1)?.header.budget ?? 0n),
    ]);
  });

  test("a lineage without rollback, orphan or loss is valid, and nothing more is said of it", () => {
    expect(report(created, ...adaTicks, bobFirst, bobLast)).toMatchObject({ verdict: "valid", orphans: [], forks: [] });
  });

  test("§4: a rollback that its owner has signed is told with its ticks, whether or not the given up is held", () => {
    const expected = { toTick: 15n, fromTick: 20n, ticks: 5n, declared: true };
    expect(report(...chain).owners.at(-1)?.rollback).toEqual({ ...expected, held: false });
    expect(report(...chain, bobLast).owners.at(-1)?.rollback).toEqual({ ...expected, held: true });
    expect(report(...chain).verdict).toBe("valid-with-remarks");
    // It was given up by who came after, not by who wrote it, nor by those before.
    expect(report(...chain, bobLast).owners.map(({ rollback }) => rollback?.ticks)).toEqual([undefined, undefined, 5n]);
  });

  test("§10: ticks that the next owner never heard of are given up all the same, and what proves it is shown", () => {
    const silent = next(bobFirst, { host: cleo, term: { era: 0n, major: 2n }, ...recovered });
    const told = report(created, ...adaTicks, bobFirst, bobLast, silent);
    expect(told.owners.at(-1)?.rollback).toEqual({
      toTick: 15n,
      fromTick: 20n,
      ticks: 5n,
      declared: false,
      held: true,
    });
    expect(told.orphans).toEqual([{ ...refOf(bobLast), hostId: bob.hostId, kind: "after-base" }]);
  });

  test("GA-9: an era that rose is a recovery after store loss, also when its owner only calls it recovered", () => {
    const lost = next(bobLast, { host: cleo, term: { era: 9n, major: 0n }, ...recovered });
    const told = report(created, ...adaTicks, bobFirst, bobLast, lost);
    expect(told.owners.at(-1)).toMatchObject({ afterStoreLoss: true, skippedMajors: 0n, rollback: undefined });
    expect(told).toMatchObject({ ok: true, verdict: "valid-with-remarks" });
  });

  test("§10: a major from which nothing on the lineage descends is an orphan as a whole", () => {
    const aside = next(bobFirst, { host: cleo, term: { era: 0n, major: 2n }, ...recovered });
    const onwards = next(bobLast, { host: ada, term: { era: 0n, major: 3n }, ...recovered });
    const told = report(created, ...adaTicks, bobFirst, bobLast, aside, onwards);
    expect(told.orphans).toEqual([{ ...refOf(aside), hostId: cleo.hostId, kind: "off-lineage" }]);
    expect(told.owners.at(-1)).toMatchObject({ skippedMajors: 1n, rollback: undefined });
  });
});

describe("a forced choice (force_recover, §4)", () => {
  const twin = next(bobFirst, { host: bob, text: "twin" });
  const twinLater = next(twin, { host: bob, ticks: 2n });
  const before = [created, ...adaTicks, bobFirst, bobLast] as const;
  const forced = next(bobLast, { host: cleo, term: { era: 0n, major: 3n }, ...recovered });

  test("EI-11: while nobody has chosen, a fork breaks the lineage", () => {
    const told = report(...before, twin);
    expect(told).toMatchObject({
      ok: false,
      verdict: "broken",
      forks: [{ major: 1n, tick: 20n, settledBy: undefined }],
    });
    expect(told.problems.map(({ kind }) => kind)).toContain("fork");
  });

  test("EI-11: what it gives up is an orphan, never a conflict again", () => {
    const told = report(...before, twin, twinLater, forced, next(forced, { host: cleo }));
    expect(told).toMatchObject({ ok: true, verdict: "valid-with-remarks", problems: [] });
    expect(told.forks).toMatchObject([{ era: 0n, major: 1n, tick: 20n, settledBy: { era: 0n, major: 3n } }]);
    expect(told.orphans).toEqual(
      [twin, twinLater].map((entry) => ({ ...refOf(entry), hostId: bob.hostId, kind: "given-up" })),
    );
    expect(told.owners.at(-1)).toMatchObject({ skippedMajors: 1n, base: refOf(bobLast) });
  });

  test("EI-11: the branch that goes on after the fork is told from the one that was given up", () => {
    const later = next(bobLast, { host: bob, ticks: 7n });
    const chosen = next(later, { host: cleo, term: { era: 0n, major: 3n }, ...recovered });
    const told = report(...before, twin, twinLater, later, chosen);
    expect(told).toMatchObject({ ok: true, checkpoints: 7 });
    expect(told.orphans.map(({ digest }) => digest).sort()).toEqual([twin.digest, twinLater.digest].sort());
  });

  test("EI-11: both branches may be given up for a checkpoint before them", () => {
    const chosen = next(bobFirst, {
      host: cleo,
      term: { era: 0n, major: 3n },
      ...recovered,
      header: { rolledBackFromTick: 20n },
    });
    const told = report(...before, twin, chosen);
    expect(told).toMatchObject({ ok: true, verdict: "valid-with-remarks" });
    expect(told.orphans).toMatchObject([{ kind: "given-up" }, { kind: "given-up" }]);
    expect(told.owners.at(-1)?.rollback).toMatchObject({ ticks: 5n, held: true });
  });

  test("GA-9: after store loss the choice is major 0 of the new era, and the recovery a later one", () => {
    const plain = next(bobLast, { host: cleo, term: { era: 9n, major: 0n }, ...recovered });
    expect(report(...before, twin, plain).verdict).toBe("broken");
    const chosen = next(bobLast, { host: cleo, term: { era: 9n, major: 1n }, ...recovered });
    expect(report(...before, twin, chosen).verdict).toBe("valid-with-remarks");
  });

  test("EI-11: a handoff, or a recovery that skips no major, settles nothing", () => {
    for (const [major, origin] of [
      [2n, "recovered"],
      [2n, "migrated"],
      [3n, "migrated"],
    ] as const) {
      const onwards = next(bobLast, { host: cleo, term: { era: 0n, major }, origin });
      expect(report(...before, twin, onwards).problems.map(({ kind }) => kind)).toContain("fork");
    }
  });

  test("I1: branches of two hosts under one major are no fork that an operator could settle", () => {
    const thief = next(bobFirst, { host: cleo, term: { era: 0n, major: 1n }, origin: "migrated", text: "thief" });
    expect(report(...before, thief, forced).problems.map(({ kind }) => kind)).toContain("owners");
  });

  test("§10: one branch alone, without the other, is a rollback like any other", () => {
    expect(report(created, ...adaTicks, bobFirst, cleoFirst, bobLast)).toMatchObject({ ok: true, forks: [] });
    expect(createAgent(ada).digest).toBe(created.digest);
  });
});
