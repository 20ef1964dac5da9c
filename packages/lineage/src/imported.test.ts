// An agent that was taken over from the seed system: its chain goes on from the file that it was taken from.

import { describe, expect, test } from "vitest";
import { decodeSeedCheckpoint } from "./seed/index.ts";
import { ada, bob, createAgent, next, registry, seedAgent, seedCheckpointFile, state } from "./testing/story.ts";
import {
  createGenesis,
  digestOf,
  type Genesis,
  type Imported,
  readGenesis,
  readHeader,
  verifyHeader,
  verifyLineage,
  verifySpine,
  writeCheckpoint,
} from "./index.ts";

const file = seedCheckpointFile({ moduleDigest: digestOf(state("module")), state: state("tick 0") });
const { digest, tick, budget } = decodeSeedCheckpoint(file);
const imported: Imported = {
  digest,
  format: 4,
  tick,
  budget,
  publicKey: Buffer.from(seedAgent.publicKey).toString("hex"),
  receiptsDigest: digestOf(state("receipts")),
};
const created = createAgent(ada, { imported });
const second = next(created, { host: ada });
const moved = next(second, { host: bob, term: { era: 0n, major: 1n } });

const genesis: Genesis = {
  creatorHostId: ada.hostId,
  moduleDigest: digestOf(state("module")),
  manifestDigest: digestOf(state("manifest")),
  incarnation: "incarnation-1",
  nonce: new Uint8Array(16),
  recoveryPolicy: "latest",
  name: "survivor",
};

describe("an agent that was taken over", () => {
  test("T-35: its first checkpoint names the whole old file as the one before it, and so says its genesis", () => {
    expect(digest).toBe(digestOf(file));
    const { header } = verifyHeader(created.signed, registry.publicKey);
    expect(header.previous).toBe(digestOf(file));
    expect(readGenesis(header.genesis ?? new Uint8Array()).imported).toEqual(imported);
    expect(readHeader(created.signed.payload)).toEqual(created.header);
  });

  test.for<[string, string | undefined, Imported | undefined]>([
    ["without the file that its genesis names", undefined, imported],
    ["after another file than its genesis names", digestOf(state("another")), imported],
    ["after a file of which its genesis says nothing", digest, undefined],
  ])("T-35: no host signs and nobody takes a tick 0 %s", ([, previous, named]) => {
    const header = { ...createAgent(ada, named === undefined ? {} : { imported: named }).header, previous };
    expect(() => writeCheckpoint(header, state("tick 0"), ada.signer)).toThrow("is not the one that its genesis says");
  });

  test("T-35: its lineage holds from there on, wherever it goes, and says from what", () => {
    const report = verifyLineage(
      [moved, second, created].map(({ signed }) => signed),
      registry.publicKey,
    );
    expect(report).toMatchObject({ ok: true, verdict: "valid", gaps: 0, checkpoints: 3, genesis: { imported } });
    expect(report.owners.map((owner) => owner.imported)).toEqual([imported, undefined]);
    const spine = verifySpine([second.signed, created.signed], moved.header, registry.publicKey);
    expect(spine.at(-1)?.header.previous).toBe(digest);
  });

  test("one that was not taken over says nothing", () => {
    const plain = createAgent(ada);
    expect(readGenesis(plain.header.genesis ?? new Uint8Array()).imported).toBeUndefined();
    const report = verifyLineage([plain.signed, next(plain, { host: ada }).signed], registry.publicKey);
    expect(report.owners.map((owner) => owner.imported)).toEqual([undefined]);
  });

  test("what it was taken over from is part of what it is", () => {
    const ids = [imported, { ...imported, digest: digestOf(state("another")) }, { ...imported, budget: 1n }, undefined];
    expect(new Set(ids.map((each) => createGenesis({ ...genesis, imported: each }).agentId)).size).toBe(4);
  });

  test.for<[string, Partial<Imported>]>([
    ["it does not name the checkpoint that it goes on from", { digest: "ab" }],
    ["it goes on from a checkpoint of format 1", { format: 1, publicKey: undefined }],
    ["it goes on from a checkpoint of format 5", { format: 5 }],
    ["a number of the checkpoint that it goes on from is out of range", { budget: -1n }],
    ["the checkpoint that it goes on from is signed in format 4, and only there", { publicKey: undefined }],
    ["the checkpoint that it goes on from is signed in format 4, and only there", { format: 3 }],
    ["the key of the checkpoint that it goes on from is malformed", { publicKey: "ab" }],
    ["the digest of the receipts that came is malformed", { receiptsDigest: "ab" }],
  ])("a genesis is refused: %s", ([what, wrong]) => {
    expect(() => createGenesis({ ...genesis, imported: { ...imported, ...wrong } })).toThrow(what);
  });
});
