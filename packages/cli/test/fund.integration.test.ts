import { Fault, type FaultDetail } from "@godwit/common/fault";
import type { FundAgentRequest } from "@godwit/proto/godwit/host/v1/host";
import { AuthorityState, RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { afterEach, describe, expect, test } from "vitest";
import { FakeCluster, type FakeClusterSpec } from "./fake-cluster.ts";
import { runCommand } from "./run-command.ts";

const AGENT = `aa01${"0".repeat(60)}`;
const ID = "ab".repeat(16);
const FIJI = { hostId: "host-fiji", name: "fiji" };
const ALASKA = { hostId: "host-alaska", name: "alaska" };
const owned = {
  agentId: AGENT,
  name: "survivor",
  state: AuthorityState.ACTIVE_OWNER,
  owner: { hostId: FIJI.hostId, bootId: "boot" },
};
const unfunded = { ...owned, state: AuthorityState.RETIRED, reason: RetiredReason.UNFUNDED };
const nowhere = { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" };

const open: FakeCluster[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((cluster) => cluster[Symbol.asyncDispose]()));
});

async function start(spec: FakeClusterSpec): Promise<FakeCluster> {
  const cluster = await FakeCluster.start(spec);
  open.push(cluster);
  return cluster;
}

/** A host that answers with each of these in turn, and what it was asked. */
function payee(...answers: readonly (FaultDetail | { tick: bigint; repeated: boolean })[]) {
  const asked: FundAgentRequest[] = [];
  const fundAgent = (request: FundAgentRequest) => {
    const answer = answers[asked.push(request) - 1];
    if (answer === undefined) throw new Error("asked once more than was expected");
    if ("code" in answer) throw new Fault(answer);
    return { agent: { agentId: AGENT, name: "survivor", state: "ACTIVE_OWNER", budget: 3_500_000n }, ...answer };
  };
  return { asked, handlers: { fundAgent } };
}

const done = { tick: 8n, repeated: false };
const lost: FaultDetail = { code: "DEADLINE_EXCEEDED", what: "the funding", afterMs: 5 };

describe("fund", () => {
  test("asks the owner's host, with an id of 16 random bytes, and tells tick and budget", async () => {
    const fiji = payee(done, { tick: 0n, repeated: true });
    const cluster = await start({ hosts: [{ ...FIJI, ...fiji }, ALASKA], records: [owned] });
    const ran = await runCommand(["fund", "survivor", "2.500001"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    const id = Buffer.from(fiji.asked[0]?.fundingId ?? []).toString("hex");
    expect(ran.out).toBe(`survivor on fiji: funded with 2.500001 as tick 8; its budget is 3.5\n${id}\n`);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(fiji.asked).toMatchObject([{ agentId: AGENT, amount: 2_500_001n }]);

    const again = await runCommand(["fund", AGENT, "2.5", "--id", ID, "--json"], cluster);
    expect(JSON.parse(again.out)).toMatchObject({ host: "fiji", fundingId: ID, fundedAtTick: "0", repeated: true });
    expect(Buffer.from(fiji.asked[1]?.fundingId ?? []).toString("hex")).toBe(ID);
  });

  test("an agent whose budget has ended is given to the live holder of the newest checkpoint, or to the one that is named", async () => {
    const [fiji, alaska] = [payee(done), payee(done)];
    const holders = ["host-gone", ALASKA.hostId, FIJI.hostId].map((hostId) => ({ session: { hostId, bootId: "b" } }));
    const cluster = await start({
      hosts: [
        { ...FIJI, ...fiji },
        { ...ALASKA, ...alaska },
      ],
      records: [unfunded],
      authority: { getAgent: () => ({ record: unfunded, holders, ownerSessionVoid: true }) },
    });
    expect((await runCommand(["fund", AGENT, "1"], cluster)).out).toContain("survivor on alaska: funded with 1");
    expect((await runCommand(["fund", AGENT, "1", "--on", "fiji"], cluster)).out).toContain("survivor on fiji");
    const nobody = await start({ hosts: [{ ...FIJI, live: false }], records: [unfunded] });
    expect(await runCommand(["fund", AGENT, "1"], nobody)).toMatchObject({
      code: 1,
      err: expect.stringContaining("NO_CANDIDATE"),
    });
  });

  test("T-41: an outcome that is not known is asked for once more, with the same id; so is an agent that moved on", async () => {
    for (const first of [lost, { code: "AGENT_NOT_HERE", agentId: AGENT } as const]) {
      const fiji = payee(first, { ...done, repeated: true });
      const cluster = await start({ hosts: [{ ...FIJI, ...fiji }], records: [owned] });
      const ran = await runCommand(["fund", AGENT, "1"], cluster);
      expect(ran.out).toContain("this funding was applied as tick 8, and not again");
      expect(fiji.asked[1]?.fundingId).toEqual(fiji.asked[0]?.fundingId);
    }
  });

  test("T-41: and then the id is told with which it is safe to ask again", async () => {
    const refused: FaultDetail = { code: "AGENT_NOT_RUNNING", agentId: AGENT, reason: "in doubt" };
    for (const second of [lost, refused]) {
      const fiji = payee(lost, second);
      const cluster = await start({ hosts: [{ ...FIJI, ...fiji }], records: [owned] });
      const ran = await runCommand(["fund", AGENT, "1", "--json"], cluster);
      const { code, message, exitCode } = JSON.parse(ran.err).error;
      expect([ran.code, code, exitCode]).toEqual([4, "FUNDING_UNKNOWN", 4]);
      const id = Buffer.from(fiji.asked[0]?.fundingId ?? []).toString("hex");
      expect(message).toContain(`fund it again with --id ${id}`);
    }
    const fiji = payee(refused);
    const cluster = await start({ hosts: [{ ...FIJI, ...fiji }], records: [owned] });
    expect((await runCommand(["fund", AGENT, "1"], cluster)).err).toMatch(/^error: AGENT_NOT_RUNNING/);
  });

  test("an interrupted command says with which id to ask again", async () => {
    const interrupt = new AbortController();
    const fundAgent = () => {
      interrupt.abort(new Error("interrupted"));
      return new Promise<never>(() => {});
    };
    const cluster = await start({ hosts: [{ ...FIJI, handlers: { fundAgent } }], records: [owned] });
    const { registry, pricing } = cluster;
    const ran = await runCommand(["fund", AGENT, "1", "--id", ID], { registry, pricing, signal: interrupt.signal });
    expect(ran.code).toBe(130);
    expect(ran.err).toContain(`fund it again with --id ${ID}`);
  });

  test.each([["0"], ["NaN"], ["Infinity"], ["1e3"], ["1.0000001"], ["9000000000.000001"], ["9".repeat(400)]])(
    "an amount of %s is wrong usage, before anybody is asked",
    async (amount) => {
      const ran = await runCommand(["fund", AGENT, amount], nowhere);
      expect(ran.code).toBe(2);
      expect(ran.err).toContain("INVALID_ARGUMENT: amount:");
    },
  );

  test.each(["xyz", "AB".repeat(16), "ab".repeat(15)])("an id of %s is wrong usage", async (id) => {
    const ran = await runCommand(["fund", AGENT, "1", "--id", id], nowhere);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain("is not an id of 32 lower-case hex digits");
  });
});
