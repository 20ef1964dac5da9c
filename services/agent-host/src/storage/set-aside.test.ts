// What an operator's choice gives up (force_recover, protocol §4): kept for inspection, never resumed (§10).

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isFault } from "@godwit/common/fault";
import { type Checkpoint, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { identity, openAt, openNew, ownerEntry, signed, temporaryDirectory } from "../../test/storage-place.ts";
import { ada, bob, cleo, next, travelled } from "../../test/storage-story.ts";
import { setAsideOf } from "./set-aside.ts";

const fault = (...codes: Parameters<typeof isFault>[1][]) =>
  expect.toSatisfy((error: unknown) => isFault(error, ...codes), `a Fault ${codes.join(" or ")}`);

const { created, adaTicks, bobFirst, bobLast } = travelled();
const agentId = created.header.agentId;
const twin = next(bobFirst, { host: bob, text: "twin" });
const twinLater = next(twin, { host: bob });
/** As the record has it after an operator chose in major 2: what each major started from. */
const choiceOf = (chosen: Checkpoint) => ({
  forced: { era: 0n, major: 2n },
  lineage: [chosen, adaTicks[1], created].map(refOf),
});
const choice = choiceOf(bobLast);
const onwards = next(bobLast, { host: cleo, term: { era: 0n, major: 3n }, origin: "recovered" });
const receipts = [Uint8Array.of(7)];

/** A host that holds the branch that will be given up. */
async function holding(path?: string, branch: readonly Checkpoint[] = [twin, twinLater]) {
  const directory = path === undefined ? await openNew() : await openAt(path);
  await directory.commit({ agentId, agent: identity, journal: { phase: "replica" }, checkpoint: created });
  for (const checkpoint of [...adaTicks, bobFirst, ...branch])
    await directory.commit({ agentId, checkpoint, receipts });
  return directory;
}

describe("what a forced choice gives up", () => {
  test("§4: makes room for the chosen checkpoint, from which the agent goes on", async () => {
    const directory = await holding();
    await expect(directory.commit({ agentId, checkpoint: bobLast })).rejects.toEqual(fault("DIVERGENT_LINEAGE"));
    await directory.commit({ agentId, setAside: choice, checkpoint: bobLast });
    expect(await directory.latestCheckpoint(agentId)).toEqual(bobLast);
    await directory.commit({ agentId, checkpoint: onwards });
    expect(await directory.spine(agentId, refOf(onwards))).toEqual(
      [bobLast, adaTicks[1], created].map((entry) => entry.signed),
    );
  });

  test("§10: is shown as orphans with all that followed it, and nothing else of the host gives it", async () => {
    const directory = await holding();
    await directory.commit({ agentId, setAside: choice });
    expect(await directory.orphans(agentId)).toEqual([twinLater.signed, twin.signed]);
    expect(await directory.latestCheckpoint(agentId)).toEqual(bobFirst);
    expect(await directory.checkpoint(agentId, twin.digest)).toBeUndefined();
    expect(await directory.receipts(agentId, twin.digest)).toBeUndefined();
    expect((await directory.headers(agentId)).map(({ payload }) => payload)).not.toContainEqual(twin.signed.payload);
    await expect(directory.spineFrom(agentId, refOf(twin))).rejects.toEqual(fault("CHECKPOINT_INVALID"));
  });

  test("GA-5: is no checkpoint again, whoever brings it, after a restart either", async () => {
    const path = await temporaryDirectory();
    const first = await holding(path);
    await first.commit({ agentId, setAside: choice });
    await first.close();
    const directory = await openAt(path);
    const stage = { handoffId: "h", agent: identity, sourceHostId: bob.hostId, token: signed, checkpoint: twin };
    for (const unit of [{ checkpoint: twin }, { spine: [twin.signed] }, { stage }]) {
      await expect(directory.commit({ agentId, ...unit })).rejects.toEqual(fault("STALE_CHECKPOINT"));
    }
    expect(await directory.orphans(agentId)).toHaveLength(2);
  });

  test("takes majors that started from it along", async () => {
    const aside = next(twin, { host: ada, term: { era: 0n, major: 2n }, origin: "recovered" });
    const directory = await holding(undefined, [twin, aside]);
    await directory.commit({ agentId, setAside: { ...choice, forced: { era: 0n, major: 3n } } });
    expect(await directory.orphans(agentId)).toEqual([aside.signed, twin.signed]);
    expect(await directory.latestCheckpoint(agentId)).toEqual(bobFirst);
  });

  test("leaves what was chosen, and what that goes back to, where it is", async () => {
    const later = next(bobLast, { host: bob });
    const directory = await holding(undefined, [bobLast, later]);
    await directory.commit({ agentId, setAside: choiceOf(later) });
    expect(await directory.orphans(agentId)).toEqual([]);
    expect(await directory.latestCheckpoint(agentId)).toEqual(later);
  });

  test("can be chosen after all by a later choice, with its state", async () => {
    const directory = await holding();
    await directory.commit({ agentId, setAside: choice, checkpoint: bobLast });
    await directory.commit({ agentId, setAside: choiceOf(twin) });
    expect(await directory.latestCheckpoint(agentId)).toEqual(twin);
    expect(await directory.receipts(agentId, twin.digest)).toEqual(receipts);
    expect(await directory.orphans(agentId)).toEqual([twinLater.signed, bobLast.signed]);
  });

  test("§10: keeps its state over a restart, so that a later choice can still be for it", async () => {
    const path = await temporaryDirectory();
    const first = await holding(path);
    await first.commit({ agentId, setAside: choice, checkpoint: bobLast });
    await first.close();
    const directory = await openAt(path);
    await directory.commit({ agentId, setAside: choiceOf(twin) });
    expect(await directory.latestCheckpoint(agentId)).toEqual(twin);
  });

  test("keeps its state, also when a checkpoint with the same state is pruned", async () => {
    const same = next(bobFirst, { host: bob, text: "tick 15" });
    expect(same.header.stateDigest).toBe(bobFirst.header.stateDigest);
    const directory = await holding(undefined, [same]);
    await directory.commit({ agentId, setAside: choice, checkpoint: bobLast });
    let last = onwards;
    for (let written = 0; written < 5; written++, last = next(last, { host: cleo })) {
      await directory.commit({ agentId, checkpoint: last });
    }
    expect(await directory.checkpoint(agentId, bobFirst.digest)).toBeUndefined();
    await directory.commit({ agentId, setAside: choiceOf(same) });
    expect(await directory.checkpoint(agentId, same.digest)).toEqual(same);
  });

  test("is refused while the journal goes on from it: that would resume it; nothing is changed", async () => {
    const directory = await holding();
    const journal = { ...ownerEntry(onwards), unconfirmedBase: refOf(twin) };
    await expect(directory.commit({ agentId, setAside: choice, journal })).rejects.toEqual(fault("INVALID_ARGUMENT"));
    expect(await directory.latestCheckpoint(agentId)).toEqual(twinLater);
    expect(await directory.orphans(agentId)).toEqual([]);
  });

  test("is the same when it is said again, and nothing of the choice's own term and later is touched", async () => {
    const directory = await holding();
    await directory.commit({ agentId, setAside: choice, checkpoint: bobLast });
    await directory.commit({ agentId, checkpoint: onwards });
    const later = { ...choice, lineage: [refOf(bobLast), ...choice.lineage] };
    for (const again of [choice, later]) await directory.commit({ agentId, setAside: again });
    expect(await directory.latestCheckpoint(agentId)).toEqual(onwards);
    expect(await directory.orphans(agentId)).toHaveLength(2);
  });

  test("goes with the rest when the agent was terminated and is forgotten", async () => {
    const directory = await holding();
    await directory.commit({ agentId, setAside: choice });
    await directory.commit({ agentId, journal: { phase: "terminated", termination: signed } });
    await directory.forget(agentId);
    expect(await directory.orphans(agentId)).toEqual([]);
  });

  test("a directory of the format before is brought up to date when it is opened", async () => {
    const path = await temporaryDirectory();
    const first = await holding(path);
    await first.close();
    const db = new DatabaseSync(join(path, "host.db"));
    db.exec("DROP TABLE set_aside; PRAGMA user_version = 1");
    db.close();
    const again = await openAt(path);
    await again.commit({ agentId, setAside: choice });
    expect(await again.orphans(agentId)).toHaveLength(2);
    await again.close();
    expect(await (await openAt(path)).orphans(agentId)).toHaveLength(2);
  });
});

describe("what goes, of what is held", () => {
  const link = ({ header, digest }: Checkpoint) => ({
    ref: refOf({ header, digest }),
    previous: header.previous,
    base: header.base?.digest,
  });
  const asideOf = (...held: readonly Checkpoint[]) => [...setAsideOf(held.map(link), choice)];

  test("the past of the chosen one stays, tick by tick", () => {
    expect(asideOf(created, ...adaTicks, bobFirst, bobLast)).toEqual([]);
  });

  test("what is newer than the chosen one goes, on its own branch, too", () => {
    const later = next(bobLast, { host: bob });
    expect(asideOf(bobFirst, bobLast, later)).toEqual([later.digest]);
  });

  test("what is newer than a base that was confirmed goes, in every major", () => {
    const late = next(adaTicks[1], { host: ada });
    expect(asideOf(created, ...adaTicks, late, bobFirst)).toEqual([late.digest]);
  });

  test("another checkpoint in the place of a base goes, also when the base itself is not held", () => {
    const fork = next(adaTicks[0], { host: ada, text: "fork" });
    expect(asideOf(created, adaTicks[0], fork)).toEqual([fork.digest]);
  });

  test("below a gap it stays", () => {
    expect(asideOf(created, adaTicks[0], bobFirst)).toEqual([]);
  });

  test("what is older than all bases that the record still has stays", () => {
    const held = [created, ...adaTicks, bobFirst, twin].map(link);
    const { forced, lineage } = choice;
    expect([...setAsideOf(held, { forced, lineage: lineage.slice(0, 1) })]).toEqual([twin.digest]);
    expect([...setAsideOf(held, { forced, lineage: [] })]).toEqual([]);
  });
});
