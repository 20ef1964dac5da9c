// `godwit recover --force`: which checkpoint is shown to the registry, with which spine, and which host is asked then.

import { create, toBinary } from "@bufbuild/protobuf";
import { refOf, seal, toProtoRef, toProtoSession, toProtoSigned } from "@godwit/lineage";
import { ada, bob, createAgent, next, registry } from "@godwit/lineage/testing";
import type { ForceRecoverRequest } from "@godwit/proto/godwit/registry/v1/authority";
import { RefusalCode } from "@godwit/proto/godwit/registry/v1/authority";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import { describe, expect, test } from "vitest";
import { FakeCluster, type FakeHostSpec } from "./fake-cluster.ts";
import { runCommand } from "./run-command.ts";

const first = createAgent(ada);
const { agentId } = first.header;
const middle = next(first, { host: ada, ticks: 5n });
const left = next(middle, { host: bob, term: { era: 0n, major: 1n }, ticks: 4n, text: "left", origin: "migrated" });
const right = next(middle, { host: bob, term: { era: 0n, major: 1n }, ticks: 4n, text: "right", origin: "migrated" });
const status = { agentId, name: "survivor", state: "ACTIVE_OWNER", major: 3n, tick: 9n };
const conflict = {
  ...{ era: 0n, major: 1n, tick: 9n },
  knownDigest: toProtoRef(refOf(left)).digest,
  offeredDigest: toProtoRef(refOf(right)).digest,
};
const record = { agentId, name: "survivor", revision: 7n, era: 0n, major: 1n, owner: toProtoSession(bob) };
const marked = toBinary(MarkSchema, create(MarkSchema, { incarnation: "now", counter: 0n }));
const mark = toProtoSigned(seal("mark", marked, registry));

/** A host that holds these, and recovers what it is asked to. */
function holding(name: string, held: readonly (typeof first)[], more: Partial<FakeHostSpec> = {}): FakeHostSpec {
  async function* getLineage() {
    for (const { signed } of held) yield { header: toProtoSigned(signed) };
  }
  return { hostId: `host-${name}`, name, handlers: { getLineage, recoverAgent: () => ({ agent: status }) }, ...more };
}

async function force(
  args: readonly string[],
  spec: { readonly hosts: readonly FakeHostSpec[]; readonly record?: object; readonly refusal?: RefusalCode },
) {
  const asked: ForceRecoverRequest[] = [];
  const { refusal = RefusalCode.UNSPECIFIED } = spec;
  await using cluster = await FakeCluster.start({
    hosts: spec.hosts,
    records: spec.record === undefined ? [] : [spec.record],
    sessions: { describeRegistry: () => ({ mark, publicKey: registry.publicKey }) },
    authority: {
      forceRecover: (request) => {
        asked.push(request);
        return { refusal, message: "its owner lives", record: { ...record, major: 2n } };
      },
    },
  });
  return { ...(await runCommand(["recover", ...args], cluster)), asked };
}

const why = ["--force", "--reason", "the disk was copied"];

describe("recover --force", () => {
  test("§4: of two checkpoints of one tick one has to be named; it is shown with its whole spine, from whoever holds it", async () => {
    const hosts = [holding("fiji", [left, right]), holding("alaska", [first, middle])];
    const unsaid = await force(["survivor", ...why], { hosts, record: { ...record, conflict } });
    expect(unsaid).toMatchObject({ code: 2, asked: [] });
    expect(unsaid.err).toContain(left.digest);

    const args = ["survivor", ...why, "--checkpoint", right.digest.slice(0, 10), "--operator", "ann"];
    const ran = await force(args, { hosts, record: { ...record, conflict } });
    expect(ran.code, ran.err).toBe(0);
    expect(ran.out).toContain("ACTIVE_OWNER on fiji");
    expect(ran.err).toContain(`tick 9 (${right.digest.slice(0, 12)}) was chosen`);
    expect(ran.asked).toMatchObject([
      {
        ...{ incarnation: "now", agentId, revision: 7n, operator: "ann", reason: "the disk was copied" },
        ...{ head: toProtoSigned(right.signed), spine: [middle, first].map(({ signed }) => toProtoSigned(signed)) },
        noneAcceptable: false,
      },
    ]);
  });

  test("§4: without a conflict it states that none is acceptable, and takes the newest that the named host holds", async () => {
    const hosts = [holding("fiji", [first, middle]), holding("alaska", [first, middle, left])];
    const ran = await force(["survivor", ...why, "--on", "fiji"], { hosts, record });
    expect(ran.out).toContain("on fiji");
    expect(ran.asked).toMatchObject([{ noneAcceptable: true, head: toProtoSigned(middle.signed) }]);
    const any = await force(["survivor", ...why], { hosts, record });
    expect(any.out).toContain("on alaska");
  });

  test("GA-9: an agent without a record is named by its whole id", async () => {
    const ran = await force([agentId, ...why], { hosts: [holding("fiji", [first, middle])] });
    expect(ran.code, ran.err).toBe(0);
    expect(ran.asked).toMatchObject([{ agentId, revision: 0n, noneAcceptable: true }]);
    expect(await force([agentId.slice(0, 8), ...why], { hosts: [] })).toMatchObject({ code: 3, asked: [] });
  });

  test("what is missing is said, and nothing is sent", async () => {
    const hosts = [holding("fiji", [middle, left]), holding("alaska", [first], { live: false })];
    const gap = await force(["survivor", ...why], { hosts, record });
    expect(gap).toMatchObject({ code: 5, asked: [] });
    expect(gap.err).toMatch(/LINEAGE_INVALID.*tick 0 of major 0/);
    const none = await force(["survivor", ...why, "--checkpoint", "0000"], { hosts, record });
    expect(none.err).toContain("NO_CANDIDATE");
    for (const args of [
      ["survivor", "--force"],
      ["survivor", "--force", "--reason", " "],
      ["survivor", "--reason", "x"],
    ]) {
      expect(await force(args, { hosts, record }), args.join(" ")).toMatchObject({ code: 2, asked: [] });
    }
  });

  test("what the registry refuses is told with its reason, and no host is asked", async () => {
    const hosts = [holding("fiji", [first])];
    const ran = await force(["survivor", ...why], { hosts, record, refusal: RefusalCode.OWNER_ALIVE });
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/FORCE_REFUSED.*OWNER_ALIVE.*its owner lives/);
    expect(ran.out).toBe("");
  });
});
