import { readdirSync, readFileSync } from "node:fs";
import { Fault, isFault } from "@godwit/common/fault";
import { digestOf, hostIdOf, type Imported, readGenesis } from "@godwit/lineage";
import { seedAgent, seedCheckpointFile, seedNode, seedReceiptsFile, stranger } from "@godwit/lineage/testing";
import { describe, expect, test } from "vitest";
import { AgentPlace } from "../../test/support/agent-place.ts";
import { textBytes, textOf } from "../../test/support/fake-sandbox.ts";
import type { RunSpec } from "./roster.ts";
import { takeOver } from "./take-over.ts";

const patient = { timeout: 60_000 };
const never = new AbortController().signal;
const module = textBytes("module");
const moduleDigest = digestOf(module);
const content = { moduleDigest, state: textBytes("tick 41"), tick: 10n, budget: 970n };
const v4 = seedCheckpointFile(content);
const receipt = { nodeId: hostIdOf(seedNode.publicKey), firstTick: 1n, lastTick: 10n, cost: 30n, budgetAfter: 970n };
const receipts = seedReceiptsFile([receipt]);

const spec = (seedFiles: RunSpec["seedFiles"], budget = 1_000_000n): RunSpec => ({
  name: "survivor",
  manifest: textBytes('{"capabilities":{"log":{"version":1}}}'),
  module,
  budget,
  ...(seedFiles === undefined ? {} : { seedFiles }),
});

function importedBy(genesis: Uint8Array | undefined): Imported | undefined {
  return readGenesis(genesis ?? new Uint8Array()).imported;
}

describe("an agent of the seed system", patient, () => {
  test("T-35: goes on from its state, its chain from the digest of the whole file", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    const agentId = await roster.run(spec({ checkpoint: v4, receipts }), never);
    const [first] = (await place.storage.checkpoints(agentId)).toReversed();
    const created = await place.storage.checkpoint(agentId, first?.digest ?? "");
    expect(created?.header).toMatchObject({ tick: 0n, previous: digestOf(v4), budget: 1_000_000n });
    expect(textOf(created?.state ?? new Uint8Array())).toBe("tick 41");
    expect(importedBy(created?.header.genesis)).toEqual({
      digest: digestOf(v4),
      format: 4,
      tick: 10n,
      budget: 970n,
      publicKey: Buffer.from(seedAgent.publicKey).toString("hex"),
      receiptsDigest: digestOf(receipts),
    });
    // It was tried once, and runs now: one tick on.
    expect(place.sandbox.instances.map(({ text }) => text)).toEqual(["tick 41", "tick 42"]);
    expect(roster.supervisor(agentId)?.tick).toBe(1n);
  });

  test.each([2, 3] as const)("of format %i goes on too, and is not said to be signed", async (format) => {
    const checkpoint = seedCheckpointFile({ ...content, format });
    const { imported, state } = await takeOver(
      { checkpoint, receipts: undefined },
      { moduleDigest, budget: 0n },
      never,
    );
    expect(imported).toMatchObject({ format, digest: digestOf(checkpoint), publicKey: undefined });
    expect(imported.receiptsDigest).toBeUndefined();
    expect(textOf(state)).toBe("tick 41");
  });

  test("in debt goes on with the budget that it is given, and owes nothing", async () => {
    const checkpoint = seedCheckpointFile({ ...content, budget: -5n });
    const taking = (budget: bigint) => takeOver({ checkpoint, receipts: undefined }, { moduleDigest, budget }, never);
    expect((await taking(1n)).imported).toMatchObject({ budget: 0n });
    await expect(taking(0n)).rejects.toThrow("is below 0: give the agent another one");
  });

  const flipped = (bytes: Uint8Array, at: number) => bytes.with(at, (bytes[at] ?? 0) ^ 1);
  test.for<[string, Partial<RunSpec> & Pick<RunSpec, "seedFiles">, string]>([
    ["a flipped byte in its state", files(flipped(v4, v4.length - 1)), "SIGNATURE_INVALID"],
    ["a flipped byte in its header", files(flipped(v4, 20)), "SIGNATURE_INVALID"],
    ["a stranger's signature", files(seedCheckpointFile({ ...content, signer: stranger })), "SIGNATURE_INVALID"],
    ["another module", { ...files(v4), module: textBytes("another") }, "CHECKPOINT_INVALID"],
    ["half a header", files(v4.subarray(0, 100)), "CHECKPOINT_INVALID"],
    ["a version that nobody knows", files(flipped(v4, 0)), "CHECKPOINT_INVALID"],
    [
      "a debt and no other budget",
      { ...files(seedCheckpointFile({ ...content, budget: -5n })), budget: 0n },
      "CHECKPOINT_INVALID",
    ],
    ["a stranger's receipts", files(v4, seedReceiptsFile([{ ...receipt, signer: stranger }])), "SIGNATURE_INVALID"],
    [
      "receipts of another checkpoint",
      files(v4, seedReceiptsFile([{ ...receipt, lastTick: 11n }])),
      "CHECKPOINT_INVALID",
    ],
    ["receipts with a gap", files(v4, seedReceiptsFile([{ ...receipt, firstTick: 2n }])), "CHECKPOINT_INVALID"],
    ["more budget than there is", { ...files(v4), budget: 2n ** 62n }, "BUDGET_INVALID"],
    [
      "a capability that is not here",
      { ...files(v4), manifest: textBytes('{"capabilities":{"rand":{"version":1}}}') },
      "CAPABILITY_MISSING",
    ],
  ])("T-33: with %s is refused: nothing runs, nothing is kept", async ([, wrong, code]) => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    await expect(roster.run({ ...spec(undefined), ...wrong }, never)).rejects.toSatisfy((error) =>
      isFault(error, code as "CHECKPOINT_INVALID"),
    );
    await expectNothing(place);
    expect(place.sandbox.instances).toEqual([]);
  });

  test("T-33: whose agent_resume traps is refused, and does not begin from zero", async () => {
    const place = await AgentPlace.create("empty");
    const roster = place.roster();
    place.sandbox.startFails = new Fault({ code: "STATE_INVALID", reason: "agent_resume trapped" });
    await expect(roster.run(spec({ checkpoint: v4, receipts }), never)).rejects.toThrow("agent_resume trapped");
    await expectNothing(place);
  });

  test("other agents get their turn while many receipts are verified, and who gives up waiting is heard", async () => {
    const many = Array.from({ length: 100 }, (_, index) => {
      const tick = BigInt(index + 1);
      return { ...receipt, firstTick: tick, lastTick: tick, cost: 0n, budgetAfter: 970n };
    });
    const checkpoint = seedCheckpointFile({ ...content, tick: 100n });
    const interruption = new AbortController();
    const taking = takeOver(
      { checkpoint, receipts: seedReceiptsFile(many) },
      { moduleDigest, budget: 1n },
      interruption.signal,
    );
    interruption.abort(new Error("the caller is gone"));
    await expect(taking).rejects.toThrow("the caller is gone");
  });
});

function files(checkpoint: Uint8Array, its?: Uint8Array): Pick<RunSpec, "seedFiles"> {
  return { seedFiles: { checkpoint, receipts: its } };
}

async function expectNothing({ storage, registry }: AgentPlace): Promise<void> {
  expect(storage.agents()).toEqual([]);
  expect(registry.sent).toEqual([]);
  expect(await storage.getBlob(moduleDigest)).toBeUndefined();
  const database = readFileSync(`${storage.path}/host.db`);
  expect(readdirSync(storage.path)).toContain("host.db");
  expect(database.includes("tick 41")).toBe(false);
}
