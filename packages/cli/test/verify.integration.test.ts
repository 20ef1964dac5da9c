import { refOf, toProtoRef } from "@godwit/lineage";
import { AuthorityState } from "@godwit/proto/godwit/registry/v1/authority";
import { describe, expect, test } from "vitest";
import { FakeCluster, type FakeHostSpec } from "./fake-cluster.ts";
import { hostId, hostKey, lineageStory, registryKey } from "./lineage-story.ts";
import { runCommand } from "./run-command.ts";

const { agentId, first, second } = lineageStory();

async function start(options: {
  readonly publicKey?: Uint8Array;
  readonly headers?: readonly (typeof first)[];
  readonly host?: Partial<FakeHostSpec>;
}) {
  const headers = options.headers ?? [second, first];
  const handlers = {
    async *getLineage() {
      for (const { signed } of headers) yield { header: signed };
    },
  };
  return await FakeCluster.start({
    hosts: [{ hostId, name: "fiji", handlers, ...options.host }],
    records: [
      {
        agentId,
        name: "survivor",
        state: AuthorityState.ACTIVE_OWNER,
        owner: { hostId, bootId: "boot-1" },
        head: toProtoRef(refOf(second)),
      },
    ],
    sessions: { describeRegistry: () => ({ publicKey: options.publicKey ?? registryKey.publicKey }) },
  });
}

describe("verify", () => {
  test("a lineage that holds: who owned the agent, and exit code 0", async () => {
    await using cluster = await start({});
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/0 +fiji +created +0 +2/);
    expect(ran.out).toContain("2 headers from fiji; 2 checkpoints on the lineage, 0 gaps, 0 orphans");
    expect(ran.out).toContain("the lineage holds");
    const asJson = JSON.parse((await runCommand(["verify", "survivor", "--json"], cluster)).out);
    expect(asJson).toMatchObject({ agentId, holds: true, headers: 2, owners: [{ host: "fiji", lastTickSeen: "2" }] });
  });

  test("grants that another registry signed: exit code 1, and what is wrong", async () => {
    await using cluster = await start({ publicKey: hostKey.publicKey });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.out).toContain("problem: invalid");
    expect(ran.out).toContain("the lineage does NOT hold");
  });

  test("a host that keeps back what the registry knows of: exit code 1", async () => {
    await using cluster = await start({ headers: [first] });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.out).toContain("problem: older-than-registry");
  });

  test("a flipped byte: exit code 1", async () => {
    const payload = new Uint8Array(second.signed.payload);
    payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
    await using cluster = await start({ headers: [{ ...second, signed: { ...second.signed, payload } }, first] });
    expect(await runCommand(["verify", "survivor"], cluster)).toMatchObject({ code: 1 });
  });
});
