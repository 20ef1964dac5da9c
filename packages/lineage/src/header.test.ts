import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type CheckpointHeader, CheckpointHeaderSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { describe, expect, test } from "vitest";
import { encodeHeader } from "./header.ts";
import {
  type Checkpoint,
  type Header,
  type Receipt,
  readHeader,
  refOf,
  verifyHeader,
  writeCheckpoint,
} from "./index.ts";
import { ada, bob, createAgent, grantOf, next, nextHeader, registry, state } from "./testing/story.ts";

const created = createAgent(ada);
const second = next(created, { host: ada });
const fine = nextHeader(second, { host: ada });
const receipt = fine.receipts[0] ?? expect.unreachable();
const moved = nextHeader(second, { host: bob, term: { era: 0n, major: 1n } });
const movedReceipt = moved.receipts[0] ?? expect.unreachable();

const fundedHeader = nextHeader(second, { host: ada, funding: { funded: 7n, fundingId: "ab".repeat(16) } });
const funding = fundedHeader.receipts[1] ?? expect.unreachable();

const withReceipt = (wrong: Partial<Receipt>): Partial<Header> => ({ receipts: [{ ...receipt, ...wrong }] });
const base = (wrong: Partial<NonNullable<Header["base"]>>): Partial<Header> => ({
  base: { ...refOf(created), ...wrong },
});

describe("no host signs a header", () => {
  test("unless it is one of these", () => {
    for (const [header, host] of [
      [created.header, ada],
      [fine, ada],
      [fundedHeader, ada],
      [nextHeader(second, { host: ada, ticks: 0n, funding: { funded: 1n, fundingId: "cd".repeat(16) } }), ada],
      [moved, bob],
    ] as const) {
      expect(() => writeCheckpoint(header, state("x"), host.signer)).not.toThrow();
    }
  });

  test.for<[string, Partial<Header>, string]>([
    ["an agent id that is none", { agentId: "x" }, "the agent id is malformed"],
    ["a tick beyond 64 bits", { tick: 2n ** 64n }, "a number is out of range"],
    ["no module", { moduleDigest: "" }, "it names no module digest"],
    ["no manifest", { manifestDigest: "" }, "it names no manifest digest"],
    ["EI-3: no base", { base: undefined }, "it names no base"],
    ["EI-3: no checkpoint before", { previous: undefined }, "it names no checkpoint before it"],
    ["EI-3: half a digest of the checkpoint before", { previous: "ab" }, "of the checkpoint before is malformed"],
    ["EI-3: half a digest of the base", base({ digest: "ab" }), "the digest of its base is malformed"],
    ["a base beyond 64 bits", base({ era: -1n }), "a number of its base is out of range"],
    ["EI-3: a base that is not before it", base({ tick: fine.tick }), "its base is not before it"],
    ["EI-3: a base of its major that is not tick 0", { base: refOf(second) }, "starts from its tick 0"],
    ["a genesis at another tick than 0", { genesis: created.header.genesis }, "only tick 0 carries the genesis"],
    ["a rollback without a recovery", { rolledBackFromTick: 99n }, "only a recovery rolls back"],
    ["a time beyond 64 bits", { writtenAtNs: 2n ** 63n }, "the time is out of range"],
    ["I6: no receipt", { receipts: [] }, "no receipt"],
    ["I6: a budget that was not left", { budget: fine.budget + 1n }, "do not leave its budget"],
    ["I6: a negative budget", { budget: -1n }, "the budget is out of range"],
    ["I6: a budget beyond all money", { budget: 2n ** 63n }, "the budget is out of range"],
    ["I6: a price beyond all money", { pricePerSecond: 2n ** 63n }, "the price is out of range"],
    ["I6: a remainder of a whole microcent", { remainder: 1_000_000_000n }, "the remainder"],
    ["I6: a receipt of the base's ticks", withReceipt({ firstTick: 0n }), "begin before its base"],
    ["I6: a receipt that ends early", withReceipt({ lastTick: 9n }), "do not end at its tick"],
    ["I6: a receipt that never was", withReceipt({ firstTick: 11n }), "it ends before it begins"],
    ["I6: a time beyond 64 bits", withReceipt({ elapsedNs: 2n ** 64n }), "a tick or the time is out of range"],
    ["I6: an invented price", withReceipt({ pricePerSecond: 10n ** 15n }), "does not follow from its times and prices"],
    [
      "I6: time that was not charged",
      withReceipt({ elapsedNs: 10n ** 15n }),
      "does not follow from its times and prices",
    ],
    ["I6: a budget from nowhere", withReceipt({ cost: 9n * 10n ** 15n }), "the budget before its receipts"],
    ["more receipts than fit", { receipts: Array.from({ length: 17 }, () => receipt) }, "17 receipts, more than 16"],
    [
      "I6: receipts that leave a tick out",
      {
        receipts: [
          { ...receipt, lastTick: 7n },
          { ...receipt, firstTick: 9n },
        ],
      },
      "leave out ticks",
    ],
    [
      "I6: receipts that do not add up",
      {
        receipts: [
          { ...receipt, lastTick: 7n },
          { ...receipt, firstTick: 8n, cost: 1n },
        ],
      },
      "do not come off the budget",
    ],
    ["I6: a receipt of another host", withReceipt({ hostId: bob.hostId }), "a receipt of another host"],
    ["I3: no grant", { grant: undefined }, "it carries no grant"],
    ["I3: a grant of another major", { grant: grantOf(fine.agentId, { era: 0n, major: 1n }, ada) }, "of major 0.1"],
    ["I3: a grant of another era", { grant: grantOf(fine.agentId, { era: 1n, major: 0n }, ada) }, "of major 1.0"],
    ["I3: a grant of another agent", { grant: grantOf("ab".repeat(32), fine, ada) }, "the grant of another agent"],
    [
      "I3: half a grant",
      { grant: { payload: new Uint8Array(), signature: new Uint8Array() } },
      "signature of its grant",
    ],
  ])("with %s", ([, wrong, reason]) => {
    expect(() => writeCheckpoint({ ...fine, ...wrong }, state("x"), ada.signer)).toThrow(reason);
  });

  const withFunding = (wrong: Partial<Receipt>): Partial<Header> => ({ receipts: [receipt, { ...funding, ...wrong }] });
  const more = Array.from({ length: 65 }, (_, index) => index.toString(16).padStart(32, "0"));
  test.for<[string, Partial<Header>, string]>([
    ["nothing", withFunding({ funded: 0n }), "not an amount above 0"],
    ["less than nothing", withFunding({ funded: -1n }), "not an amount above 0"],
    ["more than all money", withFunding({ funded: 10n ** 16n }), "not an amount above 0"],
    ["another amount than came to the budget", withFunding({ funded: 8n }), "do not come off the budget"],
    ["an id of 15 bytes", { ...withFunding({ fundingId: "ab".repeat(15) }), fundingIds: [] }, "has not 16 bytes"],
    ["a time", withFunding({ elapsedNs: 1n }), "a funding charges nothing"],
    ["a cost", withFunding({ cost: 1n }), "a funding charges nothing"],
    [
      "two ticks",
      {
        receipts: [
          { ...receipt, lastTick: 9n },
          { ...funding, firstTick: 10n },
        ],
      },
      "takes one tick",
    ],
    ["an id that the header does not name", { fundingIds: [] }, "are not the newest that it names"],
    ["an id that is not the newest", { fundingIds: [funding.fundingId ?? "", more[0] ?? ""] }, "are not the newest"],
    ["an id that was there before", { fundingIds: ["ab".repeat(16), "ab".repeat(16)] }, "it names a funding twice"],
    ["ids without end", { fundingIds: more }, "it names 65 fundings, more than 64"],
    ["an id that is none", { fundingIds: ["AB".repeat(16)] }, "the id of a funding is malformed"],
  ])("of a funding with %s", ([, wrong, reason]) => {
    expect(() => writeCheckpoint({ ...fundedHeader, ...wrong }, state("x"), ada.signer)).toThrow(reason);
  });

  test.for<[string, Partial<Header>, string]>([
    [
      "EI-10: not the tick after the base",
      { receipts: [{ ...movedReceipt, firstTick: 7n }] },
      "begin at the tick after",
    ],
    ["EI-10: not after the frozen checkpoint", { previous: created.digest }, "begin at the tick after"],
    ["I2: a base of a newer major", { base: { ...refOf(second), major: 2n } }, "its base is not of an older major"],
    ["I2: a base of its own major", { base: { ...refOf(second), major: 1n } }, "its base is not of an older major"],
    ["an agent that is created later", { origin: "created" }, "starts from its tick 0"],
    [
      "a rollback of nothing",
      { origin: "recovered", rolledBackFromTick: 5n },
      "rolls back to a tick that is not older",
    ],
    ["GA-9: a store that was not lost", { origin: "recovered-after-store-loss" }, "no store was lost since its base"],
  ])("as the first of a major, with %s", ([, wrong, reason]) => {
    expect(() => writeCheckpoint({ ...moved, ...wrong }, state("x"), bob.signer)).toThrow(reason);
  });

  test.for<[string, Partial<Header>, string]>([
    ["another agent's id", { agentId: "ab".repeat(32) }, "its genesis is the one of another agent"],
    ["another module", { moduleDigest: "ab".repeat(32) }, "its genesis names another module"],
    ["another manifest", { manifestDigest: "ab".repeat(32) }, "its genesis names another module or manifest"],
    ["a major", { major: 1n }, "tick 0 belongs to major 0"],
    ["EI-3: a checkpoint before", { previous: second.digest }, "not the one that its genesis says was taken over"],
    ["a base", { base: refOf(created) }, "tick 0 has no base"],
    ["a grant", { grant: fine.grant }, "tick 0 has no grant"],
    ["charges", { receipts: fine.receipts }, "nothing is charged for tick 0"],
    ["a remainder", { remainder: 1n }, "there is no remainder"],
    ["no genesis", { genesis: undefined }, "tick 0 has to carry the genesis"],
    ["another origin", { origin: "recovered" }, "tick 0 is where an agent is created"],
    ["a rollback", { rolledBackFromTick: 1n }, "tick 0 is where an agent is created"],
    ["fundings", { fundingIds: ["ab".repeat(16)] }, "nothing was paid in before tick 0"],
  ])("of tick 0 with %s", ([, wrong, reason]) => {
    expect(() => writeCheckpoint({ ...created.header, ...wrong }, state("x"), ada.signer)).toThrow(reason);
  });
});

describe("nobody reads a header as one", () => {
  test.for<[string, Partial<CheckpointHeader>, string]>([
    ["of a version to come", { version: 2 }, "its version 2 is not known here"],
    ["that does not say why its major started", { origin: 0 }, "why its major started"],
    ["with half a state digest", { stateDigest: new Uint8Array(31) }, "it names no state digest"],
    ["I6: whose budget was not left", { budget: 1n }, "do not leave its budget"],
    ["EI-3: without a checkpoint before", { previous: new Uint8Array() }, "it names no checkpoint before it"],
  ])("%s", ([, wrong, reason]) => {
    const message = fromBinary(CheckpointHeaderSchema, second.signed.payload);
    const payload = toBinary(CheckpointHeaderSchema, Object.assign(message, wrong));
    expect(() => readHeader(payload)).toThrow(reason);
  });

  test("with an origin to come", () => {
    const originNine = [0x98, 0x01, 9]; // of two values the last one counts
    expect(() => readHeader(new Uint8Array([...second.signed.payload, ...originNine]))).toThrow(
      "why its major started",
    );
  });

  test("what is written is read back the same", () => {
    const rolledBack: Header = { ...moved, origin: "recovered", rolledBackFromTick: 20n };
    for (const header of [created.header, fine, fundedHeader, moved, rolledBack]) {
      expect(readHeader(encodeHeader(header))).toEqual(header);
    }
  });
});

describe("I6: charges", () => {
  test("follow from time and price over several receipts and prices, to the last fraction", () => {
    const receipts = [
      { ...receipt, lastTick: 6n, elapsedNs: 1_500_000_000n, pricePerSecond: 3n, cost: 4n, budgetAfter: 96n },
      { ...receipt, firstTick: 7n, elapsedNs: 700_000_000n, pricePerSecond: 1n, cost: 1n, budgetAfter: 95n },
    ];
    const header: Header = { ...fine, receipts, budget: 95n, remainder: 200_000_000n };
    expect(() => writeCheckpoint(header, state("x"), ada.signer)).not.toThrow();
    expect(() => writeCheckpoint({ ...header, remainder: 199_999_999n }, state("x"), ada.signer)).toThrow(
      "does not follow from its times and prices",
    );
  });

  test("are told from what came in, and need not follow where the budget was used up on the way", () => {
    const left = second.header.budget;
    const taken: Receipt = { ...receipt, lastTick: 6n, elapsedNs: 0n, cost: left, budgetAfter: 0n };
    const paid: Receipt = { ...funding, firstTick: 7n, lastTick: 7n, budgetAfter: 7n };
    const { fundingIds } = fundedHeader;
    const header: Header = { ...fine, tick: 7n, budget: 7n, remainder: 0n, receipts: [taken, paid], fundingIds };
    expect(() => writeCheckpoint(header, state("x"), ada.signer)).not.toThrow();
  });

  test("need not when exhaustion takes what is left", () => {
    const left = second.header.budget;
    const taken: Receipt = { ...receipt, lastTick: 6n, elapsedNs: 0n, cost: left, budgetAfter: 0n };
    const header: Header = { ...fine, tick: 6n, budget: 0n, remainder: 0n, receipts: [taken] };
    const exhausted: Checkpoint = writeCheckpoint(header, second.state, ada.signer);
    expect(verifyHeader(exhausted.signed, registry.publicKey).header.budget).toBe(0n);
  });
});
