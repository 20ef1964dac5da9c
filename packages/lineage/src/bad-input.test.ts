// What anybody may hand to the decoders: 100,000 bad inputs each give what they promise or a typed refusal, and no memory stays taken.

import { isFault } from "@godwit/common/fault";
import { expect, test } from "vitest";
import {
  decodeCheckpoint,
  digestOf,
  encodeCheckpoint,
  encodeReceipt,
  hostIdOf,
  readHeader,
  readReceipt,
} from "./index.ts";
import { checkSeedReceipts, decodeSeedCheckpoint, holdsSeedSignature, readSeedReceipts } from "./seed/index.ts";
import {
  ada,
  createAgent,
  mutations,
  next,
  registry,
  seedCheckpointFile,
  seedNode,
  seedReceiptsFile,
  state,
} from "./testing/story.ts";
import { verifyHeader } from "./verify-header.ts";

// Most of the time would be spent on traces of refusals that nobody reads.
Error.stackTraceLimit = 0;

const COUNT = 100_000;
/** Far more than garbage that was not collected yet, far less than what a lie about a length would take. */
const MAX_GROWTH_BYTES = 512 * 2 ** 20;

/** How many of the inputs `read` took; what it throws must be one of its faults. */
function taken<C extends "CHECKPOINT_INVALID" | "SIGNATURE_INVALID" | "GRANT_INVALID">(
  inputs: Iterable<Uint8Array>,
  read: (bytes: Uint8Array) => unknown,
  ...codes: readonly C[]
): number {
  let count = 0;
  const before = process.memoryUsage().rss;
  for (const bytes of inputs) {
    try {
      read(bytes);
      count += 1;
    } catch (error) {
      if (!isFault(error, ...codes)) throw error;
    }
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  return count;
}

const created = createAgent(ada);
const second = next(created, { host: ada });

test("our checkpoints", () => {
  const files = [created, second].map(encodeCheckpoint);
  const read = taken(
    mutations(files, { seed: 1, count: COUNT }),
    (bytes) => decodeCheckpoint(bytes),
    "CHECKPOINT_INVALID",
  );
  expect(read).toBeGreaterThan(1_000);
});

test("our headers: what still keeps every rule is not signed by whom it names", () => {
  const payloads = [created, second].map(({ signed }) => signed.payload);
  const unchanged = new Set(payloads.map((payload) => digestOf(payload)));
  const changed = (): Uint8Array[] =>
    [...mutations(payloads, { seed: 2, count: 10_000 })].filter((bytes) => !unchanged.has(digestOf(bytes)));
  const read = taken(changed(), (bytes) => readHeader(bytes), "CHECKPOINT_INVALID");
  expect(read).toBeGreaterThan(100);
  const verify = (payload: Uint8Array) => verifyHeader({ ...second.signed, payload }, registry.publicKey);
  expect(taken(changed(), verify, "CHECKPOINT_INVALID", "SIGNATURE_INVALID", "GRANT_INVALID")).toBe(0);
});

test("T-25: our receipts", () => {
  const receipts = second.header.receipts.map(encodeReceipt);
  const inputs = mutations([...receipts, Uint8Array.of(255, 255, 255, 255)], { seed: 3, count: COUNT });
  expect(taken(inputs, (bytes) => readReceipt(bytes), "CHECKPOINT_INVALID")).toBeGreaterThan(1_000);
});

const moduleDigest = digestOf(state("module"));
const seedFiles = ([2, 3, 4] as const).map((format) =>
  seedCheckpointFile({ format, moduleDigest, state: state("the state") }),
);

test("checkpoints of the seed system: none that was changed is signed by whom it names", () => {
  const unchanged = new Set(seedFiles.map((bytes) => digestOf(bytes)));
  let verified = 0;
  const read = taken(
    mutations(seedFiles, { seed: 4, count: COUNT }),
    (bytes) => {
      const { custody, digest } = decodeSeedCheckpoint(bytes, { negativeBudget: "kept" });
      // Verifying costs more than all the rest: not each.
      if (custody === undefined || unchanged.has(digest) || !digest.startsWith("0")) return;
      verified += 1;
      expect(holdsSeedSignature(bytes, custody)).toBe(false);
    },
    "CHECKPOINT_INVALID",
  );
  expect(read).toBeGreaterThan(20_000);
  expect(verified).toBeGreaterThan(300);
});

const nodeId = hostIdOf(seedNode.publicKey);
const receipt = { nodeId, firstTick: 1n, lastTick: 5n, cost: 10n, budgetAfter: 990n };
const lists = [
  seedReceiptsFile([receipt, { ...receipt, firstTick: 6n, lastTick: 9n, budgetAfter: 980n }]),
  seedReceiptsFile([receipt]),
  seedReceiptsFile([]),
  Uint8Array.of(255, 255, 255, 255),
];

test("T-25: receipts of the seed system: read, and checked", () => {
  const read = (bytes: Uint8Array) => [...readSeedReceipts(bytes)];
  expect(taken(mutations(lists, { seed: 5, count: COUNT }), read, "CHECKPOINT_INVALID")).toBeGreaterThan(5_000);
  const check = (bytes: Uint8Array) => [...checkSeedReceipts(bytes, { tick: 9n, budget: 980n })];
  taken(mutations(lists, { seed: 6, count: 5_000 }), check, "CHECKPOINT_INVALID", "SIGNATURE_INVALID");
});
