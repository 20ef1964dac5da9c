// The next checkpoint of an agent that runs here is written with what is known of it, without asking the database (Newest). What is
// held must be the same as if every question had been asked, as it is after a restart.

import { isFault } from "@godwit/common/fault";
import { type Checkpoint, refOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { chain, identity, openAt, openNew, ownerEntry, temporaryDirectory } from "../../test/storage-place.ts";
import { ada, bob, next } from "../../test/storage-story.ts";
import type { DataDirectory, StorageRules, WriteUnit } from "./index.ts";

const fault = (...codes: Parameters<typeof isFault>[1][]) =>
  expect.toSatisfy((error: unknown) => isFault(error, ...codes), `a Fault ${codes.join(" or ")}`);

const receiptsOf = ({ header }: Checkpoint) => [new TextEncoder().encode(`receipt of ${header.tick}`)];

async function heldBy(directory: DataDirectory, agentId: string) {
  const refs = await directory.checkpoints(agentId);
  return {
    headers: await directory.headers(agentId),
    checkpoints: await Promise.all(refs.map(({ digest }) => directory.checkpoint(agentId, digest))),
    receipts: await Promise.all(refs.map(({ digest }) => directory.receipts(agentId, digest))),
    spine: await directory.spine(agentId, refs[0] as NonNullable<(typeof refs)[0]>),
  };
}

/** Of the same units, one directory that stays open and one that is opened anew for each. */
async function bothWays(units: readonly WriteUnit[], rules: Partial<StorageRules>) {
  const path = await temporaryDirectory();
  const standing = await openNew(rules);
  for (const unit of units) {
    const once = await openAt(path, rules);
    const results = await Promise.allSettled([standing.commit(unit), once.commit(unit)]);
    expect(results[0]?.status).toBe(results[1]?.status);
    expect(await heldBy(standing, unit.agentId)).toEqual(await heldBy(once, unit.agentId));
    await once.close();
  }
}

function beginning(first: Checkpoint): WriteUnit {
  return { agentId: first.header.agentId, agent: identity, journal: ownerEntry(first), checkpoint: first };
}

describe("the next checkpoint", () => {
  test("leaves the same behind as one that was asked about", async () => {
    const [zero, ...others] = chain(12);
    const { agentId } = zero.header;
    const units = others.map((checkpoint) => ({ agentId, checkpoint, receipts: receiptsOf(checkpoint) }));
    await bothWays([beginning(zero), ...units], { keepStates: 2, keepHeaders: 4 });
  });

  test("shares states, is told of others, of journals and of what is pruned later", async () => {
    const [zero] = chain(1);
    const { agentId } = zero.header;
    const same: Checkpoint[] = [zero];
    for (let made = 1; made < 9; made++) {
      const text = made % 3 === 0 ? `tick ${made}` : "unchanged";
      same.push(next(same.at(-1) ?? zero, { host: ada, text }));
    }
    const at = (index: number) => same[index] as Checkpoint;
    const bobs = next(at(8), { host: bob, term: { era: 0n, major: 1n } });
    await bothWays(
      [
        beginning(zero),
        { agentId, checkpoint: at(1) },
        { agentId, checkpoint: at(2) },
        { agentId, checkpoint: at(3), pruneLater: true },
        { agentId, checkpoint: at(4), pruneLater: true },
        { agentId, journal: { ...ownerEntry(zero), unconfirmedBase: refOf(at(3)) } },
        { agentId, checkpoint: at(5) },
        { agentId, checkpoint: at(6) },
        { agentId, checkpoint: at(6) },
        { agentId, checkpoint: at(5) },
        { agentId, checkpoint: next(at(5), { host: ada, text: "a fork" }) },
        { agentId, checkpoint: at(7) },
        { agentId, spine: [at(8).signed] },
        { agentId, checkpoint: at(8) },
        { agentId, checkpoint: bobs, journal: { phase: "replica" } },
        { agentId, checkpoint: next(bobs, { host: bob }) },
        { agentId, checkpoint: next(at(8), { host: ada }) },
      ],
      { keepStates: 2 },
    );
  });

  test("EI-11: a second one of a place is refused, also when the first came right before", async () => {
    const directory = await openNew();
    const [zero, one, two, three] = chain(4) as [Checkpoint, Checkpoint, Checkpoint, Checkpoint];
    const { agentId } = zero.header;
    await directory.commit(beginning(zero));
    for (const checkpoint of [one, two]) await directory.commit({ agentId, checkpoint });
    const fork = next(two, { host: ada, text: "another state" });
    const results = await Promise.allSettled([
      directory.commit({ agentId, checkpoint: three }),
      directory.commit({ agentId, checkpoint: fork }),
    ]);
    expect(results).toMatchObject([{ status: "fulfilled" }, { reason: fault("DIVERGENT_LINEAGE") }]);
    expect(directory.counters.transactions).toBe(4);
    const after = next(three, { host: ada });
    await directory.commit({ agentId, checkpoint: after });
    expect(await directory.latestCheckpoint(agentId)).toEqual(after);
  });
});
