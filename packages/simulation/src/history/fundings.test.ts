import { type Checkpoint, type FundingReceipt, isFunding } from "@godwit/lineage";
import { ada, createAgent, next } from "@godwit/lineage/testing";
import { describe, expect, test } from "vitest";
import { Fundings } from "./fundings.ts";

const funding = { funded: 5n, fundingId: "ab".repeat(16) };
const created = createAgent(ada);
const { agentId } = created.header;
const funded = next(created, { host: ada, funding });
const later = next(funded, { host: ada });

function started(amount = 5n) {
  const fundings = new Fundings();
  fundings.sent(agentId, { id: funding.fundingId, amount });
  return fundings;
}

describe("what was paid in", () => {
  test("I6: is well when it was sent, and came in once", () => {
    const fundings = started();
    expect(fundings.committed(agentId, created.digest, funded)).toEqual([]);
    expect(fundings.committed(agentId, funded.digest, later)).toEqual([]);
    expect(fundings.answered(agentId, { id: funding.fundingId, tick: 6n })).toBeUndefined();
    expect(fundings.answered(agentId, { id: funding.fundingId, tick: undefined })).toBeUndefined();
  });

  test("I6: twice along a lineage is found, with ticks between; on two branches it is once on each", () => {
    const fundings = started();
    fundings.committed(agentId, created.digest, funded);
    fundings.committed(agentId, funded.digest, later);
    const branch = next(created, { host: ada, ticks: 2n, funding });
    expect(fundings.committed(agentId, created.digest, branch)).toEqual([]);
    const [again] = branch.header.receipts.filter(isFunding);
    const wrong = withReceipts(next(later, { host: ada }), again === undefined ? [] : [again]);
    expect(fundings.committed(agentId, later.digest, wrong)).toEqual(["funding abababab was applied before"]);
  });

  test("I6: money from nowhere, or more than was sent, is found", () => {
    expect(started(4n).committed(agentId, created.digest, funded)).toEqual(["funding abababab of 5 was not sent"]);
    expect(new Fundings().committed(agentId, created.digest, funded)).toHaveLength(1);
  });

  test("§11: what was answered before any disk had it is found", () => {
    const fundings = started();
    expect(fundings.answered(agentId, { id: funding.fundingId, tick: 6n })).toBe("is in no checkpoint");
    fundings.committed(agentId, created.digest, funded);
    expect(fundings.answered(agentId, { id: funding.fundingId, tick: 7n })).toBe("is in none as tick 7");
  });
});

/** What no host could sign, as the history would see it. */
function withReceipts(checkpoint: Checkpoint, receipts: readonly FundingReceipt[]): Checkpoint {
  return { ...checkpoint, header: { ...checkpoint.header, receipts } };
}
