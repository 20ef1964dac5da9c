import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isFault } from "@godwit/common/fault";
import { type Checkpoint, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { chain, identity, openAt, openNew, ownerEntry, signed, temporaryDirectory } from "../../test/storage-place.ts";
import { ada, bob, cleo, next, travelled } from "../../test/storage-story.ts";
import { DATABASE_NAME } from "./database.ts";
import type { DataDirectory, JournalEntry } from "./index.ts";

const fault = (...codes: Parameters<typeof isFault>[1][]) =>
  expect.toSatisfy((error: unknown) => isFault(error, ...codes), `a Fault ${codes.join(" or ")}`);

async function running(directory: DataDirectory, first: Checkpoint): Promise<string> {
  const { agentId } = first.header;
  await directory.commit({ agentId, agent: identity, journal: ownerEntry(first), checkpoint: first });
  return agentId;
}

const handoff = { handoffId: "handoff", targetHostId: bob.hostId };

function relinquished({ header, digest }: Checkpoint): JournalEntry {
  const { era, major, tick } = header;
  return {
    phase: "relinquished",
    bootId: "boot",
    era,
    major,
    ...handoff,
    token: signed,
    checkpointDigest: digest,
    tick,
  };
}

function claiming({ header, digest }: Checkpoint, handoffId = "handoff"): JournalEntry {
  const { era, major } = header;
  const from = { sourceHostId: ada.hostId, token: signed, checkpointDigest: digest };
  return { phase: "claiming", bootId: "boot", commandId: "claim", handoffId, era, major, ...from };
}

function incoming(checkpoint: Checkpoint, handoffId = "handoff") {
  return {
    handoffId,
    agent: identity,
    sourceHostId: ada.hostId,
    token: signed,
    checkpoint,
    receipts: [Uint8Array.of(4)],
  };
}

describe("what a host is", () => {
  test("its key is made once and comes back", async () => {
    const path = await temporaryDirectory();
    const first = await openAt(path);
    const seed = first.hostSeed;
    expect(seed).toHaveLength(32);
    await first.close();
    expect((await openAt(path)).hostSeed).toEqual(seed);
    expect((await openNew()).hostSeed).not.toEqual(seed);
  });

  test("GA-5: it knows its own sessions, earlier ones included", async () => {
    const path = await temporaryDirectory();
    const first = await openAt(path);
    const recorded = first.recordSession("boot-1");
    expect(first.isOwnSession("boot-1")).toBe(false); // not before it is on the disk
    await recorded;
    await first.recordSession("boot-1");
    await first.close();
    const again = await openAt(path);
    expect([again.isOwnSession("boot-1"), again.isOwnSession("boot-2")]).toEqual([true, false]);
  });

  test("GA-6: the mark that was saved last comes back", async () => {
    const path = await temporaryDirectory();
    const first = await openAt(path);
    expect(first.newestMark()).toBeUndefined();
    await first.saveMark({ payload: Uint8Array.of(1), signature: Uint8Array.of(2) });
    await first.saveMark(signed);
    expect(first.newestMark()).toEqual(signed);
    await first.close();
    expect((await openAt(path)).newestMark()).toEqual(signed);
  });

  test("it belongs to the registry whose key it met first", async () => {
    const path = await temporaryDirectory();
    const first = await openAt(path);
    const key = new Uint8Array(32).fill(1);
    await first.pinRegistryKey(key);
    await first.pinRegistryKey(key);
    await expect(first.pinRegistryKey(new Uint8Array(32).fill(2))).rejects.toEqual(fault("INVALID_ARGUMENT"));
    await first.close();
    expect((await openAt(path)).registryKey()).toEqual(key);
  });
});

describe("blobs", () => {
  test("are found under the digest of their bytes, and are kept once", async () => {
    const directory = await openNew();
    const bytes = new Uint8Array(100_000).fill(5);
    const digest = await directory.putBlob(bytes);
    expect(await directory.putBlob(bytes)).toBe(digest);
    expect(await directory.getBlob(digest)).toEqual(bytes);
    expect(directory.hasBlob(digest)).toBe(true);
    const empty = await directory.putBlob(new Uint8Array(0));
    expect(await directory.getBlob(empty)).toEqual(new Uint8Array(0));
    expect(directory.hasBlob("f".repeat(64))).toBe(false);
    expect(await directory.getBlob("f".repeat(64))).toBeUndefined();
  });
});

describe("a write unit", () => {
  test("brings back checkpoint, receipts and journal after a restart", async () => {
    const path = await temporaryDirectory();
    const first = await openAt(path);
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(first, zero);
    await first.commit({ agentId, checkpoint: one, receipts: [Uint8Array.of(1), new Uint8Array(0)] });
    await first.close();

    const again = await openAt(path);
    expect(again.agents()).toEqual([
      { agentId, ...identity, journal: ownerEntry(zero), newestRelinquished: undefined },
    ]);
    expect(await again.latestCheckpoint(agentId)).toEqual(one);
    expect(await again.checkpoint(agentId, zero.digest)).toEqual(zero);
    expect(await again.receipts(agentId, one.digest)).toEqual([Uint8Array.of(1), new Uint8Array(0)]);
    expect(await again.checkpoints(agentId)).toEqual([refOf(one), refOf(zero)]);
    expect(await again.headers(agentId)).toEqual([one.signed, zero.signed]);
  });

  test("is written whole or not at all", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    const before = directory.agent(agentId);
    const broken = { agentId, journal: relinquished(one), checkpoint: one, promoteStaging: "not there" };
    await expect(directory.commit(broken)).rejects.toEqual(fault("INVALID_ARGUMENT"));
    expect(directory.agent(agentId)).toEqual(before);
    expect(await directory.latestCheckpoint(agentId)).toEqual(zero);
  });

  test("does not fail with another agent's, nor take it along", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const [other] = chain(1, 8);
    const agentId = await running(directory, zero);
    const otherId = other.header.agentId;
    const transactions = directory.counters.transactions;
    const results = await Promise.allSettled([
      directory.commit({ agentId, checkpoint: one }),
      directory.commit({ agentId: otherId, checkpoint: other }), // nobody has said what it is
      directory.commit({ agentId: otherId, agent: identity, journal: ownerEntry(other), checkpoint: other }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(directory.counters.transactions).toBe(transactions + 1);
    expect(await directory.latestCheckpoint(agentId)).toEqual(one);
    expect(await directory.latestCheckpoint(otherId)).toEqual(other);
  });

  test("of many agents at once takes one transaction", async () => {
    const directory = await openNew();
    const agents = Array.from({ length: 60 }, (_, index) => chain(1, index)[0]);
    const before = directory.counters;
    await Promise.all(agents.map((zero) => running(directory, zero)));
    expect(directory.counters.units - before.units).toBe(60);
    expect(directory.counters.transactions - before.transactions).toBe(1);
    for (const zero of agents) expect(await directory.latestCheckpoint(zero.header.agentId)).toEqual(zero);
  });

  test("that is another agent's, or whose state is not the header's, is refused", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    const [other] = chain(1, 8);
    const changed = { ...one, state: new Uint8Array(one.state).fill(1) };
    for (const checkpoint of [other, changed, { ...one, digest: "0".repeat(64) }]) {
      await expect(directory.commit({ agentId, checkpoint })).rejects.toEqual(fault("CHECKPOINT_INVALID"));
    }
    await expect(directory.commit({ agentId, spine: [other.signed] })).rejects.toEqual(fault("CHECKPOINT_INVALID"));
    await expect(directory.commit({ agentId, spine: [signed] })).rejects.toEqual(fault("CHECKPOINT_INVALID"));
    expect(await directory.headers(agentId)).toEqual([zero.signed]);
  });
});

describe("checkpoints", () => {
  test("EI-11: a second one of the same term and tick is refused, loudly, and the first stays", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    await directory.commit({ agentId, checkpoint: one });
    const fork = next(zero, { host: ada, text: "another state" });
    const staged = { ...incoming(fork), agent: identity };
    for (const unit of [{ checkpoint: fork }, { spine: [fork.signed] }, { stage: staged }]) {
      await expect(directory.commit({ agentId, ...unit })).rejects.toEqual(fault("DIVERGENT_LINEAGE"));
    }
    expect(await directory.latestCheckpoint(agentId)).toEqual(one);
    expect(directory.staged()).toEqual([]);
  });

  test("the same one again changes nothing", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    await directory.commit({ agentId, checkpoint: one, receipts: [Uint8Array.of(1)] });
    await directory.commit({ agentId, checkpoint: one });
    expect(await directory.headers(agentId)).toHaveLength(2);
    expect(await directory.receipts(agentId, one.digest)).toEqual([Uint8Array.of(1)]);
  });

  test("the newest is by term before tick", async () => {
    const directory = await openNew();
    const { created, adaTicks, bobLast, cleoFirst } = travelled();
    const agentId = await running(directory, created);
    await directory.commit({ agentId, checkpoint: adaTicks[1] });
    await directory.commit({ agentId, checkpoint: cleoFirst });
    await directory.commit({ agentId, checkpoint: bobLast });
    expect(await directory.latestCheckpoint(agentId)).toEqual(cleoFirst);
  });

  test("T-16: a host that has relinquished its term writes nothing of it, and holds the next owner's", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero, one, two] = chain(3) as [Checkpoint, Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    await directory.commit({ agentId, checkpoint: one, journal: relinquished(one) });
    const headers = await directory.headers(agentId);

    await expect(directory.commit({ agentId, checkpoint: two })).rejects.toEqual(fault("AGENT_NOT_RUNNING"));
    await expect(directory.commit({ agentId, journal: ownerEntry(one) })).rejects.toEqual(fault("AGENT_NOT_RUNNING"));
    expect(await directory.headers(agentId)).toEqual(headers);

    const bobs = next(one, { host: bob, term: { era: 0n, major: 1n } });
    await directory.commit({ agentId, checkpoint: bobs, journal: { phase: "replica" } });
    await directory.close();
    const again = await openAt(path);
    expect(again.agent(agentId)?.newestRelinquished).toEqual({ era: 0n, major: 0n });
    await expect(again.commit({ agentId, journal: ownerEntry(one) })).rejects.toEqual(fault("AGENT_NOT_RUNNING"));
    expect(await again.latestCheckpoint(agentId)).toEqual(bobs);
  });

  test("an era, major or tick that no host can keep is refused", async () => {
    const directory = await openNew();
    const [zero] = chain(1);
    const agentId = await running(directory, zero);
    const far = next(zero, { host: ada, ticks: 2n ** 63n });
    await expect(directory.commit({ agentId, checkpoint: far })).rejects.toEqual(fault("CHECKPOINT_INVALID"));
  });
});

describe("pruning", () => {
  test("keeps the states of the newest checkpoints and all headers up to the limit", async () => {
    const directory = await openNew({ keepStates: 2, keepHeaders: 4 });
    const all = chain(12);
    const agentId = await running(directory, all[0]);
    for (const checkpoint of all.slice(1)) await directory.commit({ agentId, checkpoint });
    const [last, before] = all.toReversed() as [Checkpoint, Checkpoint];
    expect(await directory.checkpoints(agentId)).toEqual([refOf(last), refOf(before)]);
    const headers = (await directory.headers(agentId)).map(({ payload }) => payload);
    // Two with states, four without, and tick 0, which is on the spine.
    expect(headers).toEqual([...all.slice(-6).toReversed(), all[0]].map(({ signed: { payload } }) => payload));
    expect(await directory.checkpoint(agentId, all[9]?.digest ?? "")).toBeUndefined();
    expect(await directory.receipts(agentId, all[9]?.digest ?? "")).toBeUndefined();
  });

  test("does not touch the checkpoint that the journal names, until it names another", async () => {
    const directory = await openNew({ keepStates: 1 });
    const [zero, one, two, three] = chain(4) as [Checkpoint, Checkpoint, Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    await directory.commit({ agentId, checkpoint: one, journal: { ...ownerEntry(one), unconfirmedBase: refOf(one) } });
    await directory.commit({ agentId, checkpoint: two });
    await directory.commit({ agentId, checkpoint: three });
    expect(await directory.checkpoints(agentId)).toEqual([refOf(three), refOf(one)]);
    await directory.commit({ agentId, journal: ownerEntry(one) });
    expect(await directory.checkpoints(agentId)).toEqual([refOf(three)]);
  });

  test("a state that several checkpoints share stays as long as one of them", async () => {
    const directory = await openNew({ keepStates: 1 });
    const [zero] = chain(1);
    const one = next(zero, { host: ada, text: "unchanged" });
    const two = next(one, { host: ada, text: "unchanged" });
    const same = [one, two, next(two, { host: ada, text: "unchanged" })];
    const agentId = await running(directory, zero);
    for (const checkpoint of same) await directory.commit({ agentId, checkpoint });
    expect(await directory.latestCheckpoint(agentId)).toEqual(same[2]);
    expect(await directory.checkpoints(agentId)).toHaveLength(1);
  });

  test("spine headers stay for ever, also those whose owners were elsewhere", async () => {
    const directory = await openNew({ keepStates: 1, keepHeaders: 1 });
    const { created, adaTicks, bobFirst, cleoFirst } = travelled();
    const agentId = await running(directory, created);
    await directory.commit({ agentId, checkpoint: adaTicks[1] });
    // The first checkpoint of a new major makes its base one of the spine.
    await directory.commit({ agentId, checkpoint: bobFirst });
    await directory.commit({ agentId, checkpoint: cleoFirst });
    let last = cleoFirst;
    for (let count = 0; count < 6; count++) {
      last = next(last, { host: cleo });
      await directory.commit({ agentId, checkpoint: last });
    }
    const spine = [bobFirst, adaTicks[1], created].map((checkpoint) => checkpoint.signed);
    expect(await directory.spine(agentId, refOf(last))).toEqual(spine);
    expect(await directory.spine(agentId, refOf(created))).toEqual([]);
  });
});

describe("the spine", () => {
  test("that comes with a replica is kept and found", async () => {
    const directory = await openNew();
    const { created, adaTicks, bobFirst, cleoLast } = travelled();
    const { agentId } = created.header;
    const spine = [bobFirst, adaTicks[1], created].map((checkpoint) => checkpoint.signed);
    await directory.commit({ agentId, agent: identity, journal: { phase: "replica" }, checkpoint: cleoLast, spine });
    expect(await directory.spine(agentId, refOf(cleoLast))).toEqual(spine);
    expect(await directory.latestCheckpoint(agentId)).toEqual(cleoLast);
  });

  test("with a missing link, or from a checkpoint that is not here, is a fault", async () => {
    const directory = await openNew();
    const { created, bobFirst, cleoLast } = travelled();
    const { agentId } = created.header;
    await directory.commit({ agentId, agent: identity, journal: { phase: "replica" }, checkpoint: cleoLast });
    await expect(directory.spine(agentId, refOf(cleoLast))).rejects.toEqual(fault("DATA_CORRUPT"));
    await expect(directory.spine(agentId, refOf(bobFirst))).rejects.toEqual(fault("CHECKPOINT_INVALID"));
  });

  test("is read as far as it is asked for", async () => {
    const directory = await openNew();
    const { created, bobFirst, cleoLast } = travelled();
    const { agentId } = created.header;
    const spine = [bobFirst.signed]; // the link below it is missing
    await directory.commit({ agentId, agent: identity, journal: { phase: "replica" }, checkpoint: cleoLast, spine });
    const [newest] = directory.walkSpine(agentId, refOf(cleoLast));
    expect(newest).toEqual(bobFirst.signed);
    expect(() => [...directory.walkSpine(agentId, refOf(cleoLast))]).toThrow(fault("DATA_CORRUPT"));
  });
});

describe("a staged handoff", () => {
  test("GH-5: is found after a restart with its journal entry, and becomes a checkpoint when it is promoted", async () => {
    const path = await temporaryDirectory();
    const target = await openAt(path);
    const { created, adaTicks } = travelled();
    const frozen = adaTicks[1];
    const { agentId } = created.header;
    const stage = { ...incoming(frozen), spine: [created.signed] };
    await target.commit({ agentId, agent: identity, stage, journal: claiming(frozen) });
    await target.close();

    const again = await openAt(path);
    expect(again.agent(agentId)?.journal).toEqual(claiming(frozen));
    expect(again.stagedFor(agentId)).toEqual([
      {
        handoffId: "handoff",
        agentId,
        agent: identity,
        sourceHostId: ada.hostId,
        token: signed,
        header: frozen.signed,
        ref: refOf(frozen),
      },
    ]);
    expect(await again.stagedCheckpoint("handoff")).toEqual(frozen);
    expect(await again.latestCheckpoint(agentId)).toBeUndefined(); // GH-4: not committed yet

    const owner = { ...ownerEntry(frozen), major: 1n };
    await again.commit({ agentId, promoteStaging: "handoff", journal: owner });
    expect(again.staged()).toEqual([]);
    expect(await again.latestCheckpoint(agentId)).toEqual(frozen);
    expect(await again.receipts(agentId, frozen.digest)).toEqual([Uint8Array.of(4)]);
    expect(await again.spine(agentId, refOf(frozen))).toEqual([created.signed]);
    await expect(again.commit({ agentId, promoteStaging: "handoff" })).rejects.toEqual(fault("INVALID_ARGUMENT"));
  });

  test("that is dropped before its claim leaves nothing behind", async () => {
    const directory = await openNew();
    const [zero] = chain(1);
    const { agentId } = zero.header;
    await directory.commit({ agentId, agent: identity, stage: incoming(zero), journal: claiming(zero) });
    await directory.commit({ agentId, dropStaging: "handoff", journal: { phase: "replica" } });
    expect(directory.staged()).toEqual([]);
    expect(directory.agents()).toEqual([]);
    expect(await directory.stagedCheckpoint("handoff")).toBeUndefined();
    await directory.commit({ agentId, dropStaging: "handoff" });
  });

  test("T-21: that is dropped leaves what was held before as it was", async () => {
    const directory = await openNew();
    const { created, adaTicks, bobFirst } = travelled();
    const agentId = await running(directory, created);
    await directory.commit({ agentId, checkpoint: adaTicks[1], journal: relinquished(adaTicks[1]) });
    const headers = await directory.headers(agentId);
    await directory.stage(incoming(bobFirst));
    await directory.commit({ agentId, dropStaging: "handoff", journal: { phase: "replica" } });
    expect(await directory.headers(agentId)).toEqual(headers);
    expect(await directory.latestCheckpoint(agentId)).toEqual(adaTicks[1]);
    expect(directory.agent(agentId)?.newestRelinquished).toEqual({ era: 0n, major: 0n });
  });

  test("the same twice is one; another one under its id is refused", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    await directory.stage(incoming(zero));
    await directory.stage(incoming(zero));
    await expect(directory.stage(incoming(one))).rejects.toEqual(fault("HANDOFF_IN_PROGRESS"));
    expect(directory.staged().map(({ ref }) => ref)).toEqual([refOf(zero)]);
  });

  test("its state survives the pruning and the dropping of others that share it", async () => {
    const directory = await openNew({ keepStates: 1 });
    const [zero] = chain(1);
    const first = next(zero, { host: ada, text: "shared" });
    const moved = next(first, { host: bob, term: { era: 0n, major: 1n }, text: "shared" });
    const agentId = await running(directory, zero);
    await directory.commit({ agentId, checkpoint: first });
    await directory.stage(incoming(moved, "h1"));
    await directory.stage(incoming(moved, "h2"));
    await directory.commit({ agentId, dropStaging: "h1" });
    await directory.commit({ agentId, checkpoint: next(first, { host: ada, text: "more" }) });
    expect(await directory.stagedCheckpoint("h2")).toEqual(moved);
  });
});

test("who stands still until a unit is written does not wait for what it makes superfluous: the next unit forgets it", async () => {
  const directory = await openNew({ keepStates: 1 });
  const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
  const agentId = await running(directory, zero);
  const held = async () => (await directory.checkpoints(agentId)).map(({ tick }) => tick);
  await directory.commit({ agentId, checkpoint: one, pruneLater: true });
  expect(await held()).toEqual([one.header.tick, 0n]);
  await directory.commit({ agentId, journal: relinquished(one), pruneLater: true });
  expect(await held()).toEqual([one.header.tick, 0n]);
  await directory.commit({ agentId, journal: ownerEntry(one) }).catch(() => {}); // forbidden: nothing of it is done
  expect(await held()).toEqual([one.header.tick, 0n]);
  await directory.commit({ agentId, journal: { phase: "retired", why: "migrated", era: 0n, major: 0n } });
  expect(await held()).toEqual([one.header.tick]);
});

describe("a state that was written ahead of its handoff", () => {
  function statesIn(path: string): number {
    const db = new DatabaseSync(join(path, DATABASE_NAME), { readOnly: true });
    try {
      return Number(db.prepare("SELECT count(*) AS n FROM states").get()?.["n"]);
    } finally {
      db.close();
    }
  }

  test("GH-4: is no checkpoint and no handoff, and is gone when it is forgotten", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero] = chain(1);
    const { agentId, stateDigest } = zero.header;
    await directory.putStateAhead(agentId, zero);
    expect(directory.agents()).toEqual([]);
    expect(directory.staged()).toEqual([]);
    expect(await directory.latestCheckpoint(agentId)).toBeUndefined();
    await directory.dropStateAhead(agentId, stateDigest);
    await directory.close();
    expect(statesIn(path)).toBe(0);
  });

  test("is gone after a restart, and nothing else is", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const { created, adaTicks, bobFirst } = travelled();
    const agentId = await running(directory, created);
    await directory.stage(incoming(adaTicks[1]));
    await directory.putStateAhead(agentId, bobFirst);
    await directory.close();
    expect(statesIn(path)).toBe(3);
    const again = await openAt(path);
    expect(await again.latestCheckpoint(agentId)).toEqual(created);
    expect(await again.stagedCheckpoint("handoff")).toEqual(adaTicks[1]);
    await again.close();
    expect(statesIn(path)).toBe(2);
  });

  test("is the one that is staged, and what names it keeps it", async () => {
    const directory = await openNew();
    const [zero] = chain(1);
    const { agentId, stateDigest } = zero.header;
    await directory.putStateAhead(agentId, zero);
    await directory.stage(incoming(zero));
    await directory.dropStateAhead(agentId, stateDigest);
    expect(await directory.stagedCheckpoint("handoff")).toEqual(zero);
  });

  test("that was forgotten too early is staged all the same", async () => {
    const directory = await openNew();
    const [zero] = chain(1);
    const { agentId, stateDigest } = zero.header;
    await Promise.all([
      directory.putStateAhead(agentId, zero),
      directory.dropStateAhead(agentId, stateDigest),
      directory.stage(incoming(zero)),
    ]);
    expect(await directory.stagedCheckpoint("handoff")).toEqual(zero);
  });

  test("another one than its header names is refused", async () => {
    const directory = await openNew();
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const forged = { ...zero, state: one.state };
    await expect(directory.putStateAhead(zero.header.agentId, forged)).rejects.toEqual(fault("CHECKPOINT_INVALID"));
  });
});

describe("a terminated agent", () => {
  test("leaves a tombstone that nothing can follow", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero, one] = chain(2) as [Checkpoint, Checkpoint];
    const agentId = await running(directory, zero);
    await directory.stage(incoming(one));
    await expect(directory.forget(agentId)).rejects.toEqual(fault("INVALID_ARGUMENT"));

    const tombstone: JournalEntry = { phase: "terminated", termination: signed };
    await directory.commit({ agentId, journal: tombstone });
    await directory.forget(agentId);
    await directory.forget("an agent that was never here");
    expect(await directory.headers(agentId)).toEqual([]);
    expect(directory.staged()).toEqual([]);
    await directory.close();

    const again = await openAt(path);
    expect(again.agent(agentId)?.journal).toEqual(tombstone);
    expect(await again.latestCheckpoint(agentId)).toBeUndefined();
    for (const unit of [{ checkpoint: one }, { journal: ownerEntry(zero) }, { stage: incoming(one) }]) {
      await expect(again.commit({ agentId, ...unit })).rejects.toEqual(fault("TERMINATED"));
    }
  });
});

describe("the end", () => {
  test("close answers what was submitted before, and refuses what comes later", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const [zero] = chain(1);
    const { agentId } = zero.header;
    const last = running(directory, zero);
    const closed = directory.close();
    await expect(directory.commit({ agentId, checkpoint: zero })).rejects.toEqual(fault("SHUTTING_DOWN"));
    await Promise.all([last, closed, directory.close()]);
    await expect(directory.latestCheckpoint(agentId)).rejects.toEqual(fault("SHUTTING_DOWN"));
    expect(await (await openAt(path)).latestCheckpoint(agentId)).toEqual(zero);
  });

  test("close may come right after a commit whose log is still to be written back", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const digest = await directory.putBlob(new Uint8Array(6_000_000).fill(3));
    await directory.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect((await openAt(path)).hasBlob(digest)).toBe(true);
  });

  test("rules that keep nothing are refused", async () => {
    const path = await temporaryDirectory();
    for (const rules of [{ keepStates: 0 }, { keepHeaders: -1 }, { keepStates: 1.5 }, { maxBytes: 0 }]) {
      await expect(openAt(path, rules)).rejects.toEqual(fault("INVALID_ARGUMENT"));
    }
  });
});
