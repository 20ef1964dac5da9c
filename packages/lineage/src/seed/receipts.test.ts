import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { hostIdOf } from "../keys.ts";
import { type SeedReceiptContent, seedNode, seedReceiptsFile, stranger } from "../testing/story.ts";
import { checkSeedReceipts, readSeedReceipts, type SeedReceiptSummary } from "./receipts.ts";

const nodeId = hostIdOf(seedNode.publicKey);
const strangerId = hostIdOf(stranger.publicKey);
/** A node id whose key is only there as a hash. */
const hashedId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const checkpoint = { tick: 12n, budget: 970n };

const first: SeedReceiptContent = { nodeId, firstTick: 1n, lastTick: 5n, cost: 10n, budgetAfter: 990n };
/** Written at a checkpoint since which no tick had run. */
const empty: SeedReceiptContent = { nodeId, firstTick: 6n, lastTick: 5n, cost: 0n, budgetAfter: 990n };
const elsewhere: SeedReceiptContent = {
  nodeId: strangerId,
  signer: stranger,
  firstTick: 6n,
  lastTick: 12n,
  cost: 20n,
  budgetAfter: 970n,
};
const honest = [first, empty, elsewhere];

function check(bytes: Uint8Array, against = checkpoint): SeedReceiptSummary {
  const checking = checkSeedReceipts(bytes, against);
  for (;;) {
    const { done, value } = checking.next();
    if (done) return value;
  }
}

function refusal(read: () => unknown): string {
  try {
    read();
    return "none";
  } catch (error) {
    if (!isFault(error, "CHECKPOINT_INVALID", "SIGNATURE_INVALID")) throw error;
    return error.message;
  }
}

describe("receipts of the seed system", () => {
  test("are read back as they were written, in their order", () => {
    const [one, two, three] = [...readSeedReceipts(seedReceiptsFile(honest))];
    const { signer: _, ...content } = elsewhere;
    expect(one).toMatchObject({ ...first, agentId: "local-agent", atNs: 1_700_000_000_000_000_000n });
    expect(two).toMatchObject(empty);
    expect(three).toMatchObject(content);
  });

  test("T-42: one chain over two hosts, without a gap, each signed by whom it names", () => {
    expect(check(seedReceiptsFile(honest))).toEqual({ count: 3, cost: 30n, lastTick: 12n, unexplained: 0n });
    expect(check(seedReceiptsFile([]))).toEqual({ count: 0, cost: 0n, lastTick: 0n, unexplained: 0n });
  });

  test("T-42: what a crash of an honest seed host leaves out is told, and no reason to refuse", () => {
    // Charges were lost with the receipt that would have had them.
    const fell = [first, { ...elsewhere, budgetAfter: 960n }];
    expect(check(seedReceiptsFile(fell), { tick: 12n, budget: 960n })).toMatchObject({ unexplained: 10n });
    // The newest receipt was.
    expect(check(seedReceiptsFile([first]))).toEqual({ count: 1, cost: 10n, lastTick: 5n, unexplained: 20n });
  });

  test.for<[string, readonly SeedReceiptContent[], string]>([
    ["begin too late", [{ ...first, firstTick: 2n }], "none covers tick 1"],
    ["leave ticks out", [first, { ...elsewhere, firstTick: 8n }], "none covers tick 6 and what follows it"],
    ["charge twice", [first, { ...elsewhere, firstTick: 5n }], "tick 5 is charged twice"],
    ["claim all from 1 on again", [first, { ...elsewhere, firstTick: 1n }], "tick 1 is charged twice"],
    ["end before they begin", [first, { ...elsewhere, lastTick: 4n }], "ends before it begins, at tick 6"],
    ["charge for no tick", [first, { ...empty, cost: 1n, budgetAfter: 989n }], "a cost of 1 for ticks 6 to 5"],
    ["give money back", [{ ...first, cost: -1n }], "a cost of -1"],
    ["are of two agents", [first, { ...elsewhere, agentId: "other" }], "they are of two agents"],
    ["let the budget rise", [first, { ...elsewhere, cost: 19n, budgetAfter: 972n }], "the budget rises at tick 6"],
    ["are newer than the checkpoint", [first, { ...elsewhere, lastTick: 13n }], "they go up to tick 13"],
    ["leave another budget", [first, { ...elsewhere, cost: 21n, budgetAfter: 969n }], "they leave a budget of 969"],
    ["leave less than there is", [{ ...first, budgetAfter: 969n }], "they leave a budget of 969"],
    ["are of a stranger", [first, { ...elsewhere, signer: seedNode }], "the receipt from tick 6 on does not verify"],
    ["have no key in their node id", [{ ...first, nodeId: hashedId }], "the node id in it has no Ed25519 key"],
    ["have no node id", [{ ...first, nodeId: "" }], "the node id in it has no Ed25519 key"],
    ["have an endless agent id", [{ ...first, agentId: "a".repeat(513) }], "an id in them has 513 bytes"],
  ])("T-42: that %s are refused", ([, receipts, reason]) => {
    expect(refusal(() => check(seedReceiptsFile(receipts)))).toContain(reason);
  });

  test("T-42: with a flipped bit anywhere are refused", () => {
    const bytes = seedReceiptsFile(honest);
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.with(at, (bytes[at] ?? 0) ^ (1 << (at % 8)));
      expect(
        refusal(() => check(changed)),
        `byte ${at}`,
      ).not.toBe("none");
    }
  });

  test("cut short anywhere, or with something behind them, are refused", () => {
    const bytes = seedReceiptsFile(honest);
    for (let length = 0; length < bytes.length; length++) {
      expect(
        refusal(() => check(bytes.subarray(0, length))),
        `${length} bytes`,
      ).toContain("of its receipts");
    }
    expect(refusal(() => check(new Uint8Array([...bytes, 0])))).toContain("something follows");
  });

  test("an id that is no text is refused", () => {
    const bytes = seedReceiptsFile([first]);
    expect(refusal(() => check(bytes.with(12, 0xff)))).toContain("an id in them is no text");
  });

  test("T-25: a count of 2^32 - 1, and a length of as much, cost nothing", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let times = 0; times < 1_000; times++) {
      expect(refusal(() => check(Uint8Array.of(255, 255, 255, 255)))).toContain("they are cut short");
      expect(refusal(() => check(Uint8Array.of(1, 0, 0, 0, 255, 255, 255, 255)))).toContain("they are cut short");
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20);
  });
});
