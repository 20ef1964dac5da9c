// godwit import against a registry and a host as they are: real processes, the survivor as the agent of the seed system.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { digestOf, hostIdOf } from "@godwit/lineage";
import {
  type SeedFileContent,
  seedAgent,
  seedCheckpointFile,
  seedNode,
  seedReceiptsFile,
  stranger,
} from "@godwit/lineage/testing";
import { Cluster, type HostNode } from "@godwit/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "./run-command.ts";

const wasm = fileURLToPath(new URL("../../../agents/survivor/build/survivor.wasm", import.meta.url));
const moduleDigest = digestOf(readFileSync(wasm));
const agentKey = Buffer.from(seedAgent.publicKey).toString("hex");
const folder = mkdtempSync(join(tmpdir(), "godwit-import-"));

let cluster: Cluster;
let host: HostNode;
beforeAll(async () => {
  cluster = await Cluster.create();
  await cluster.startRegistry();
  host = await cluster.startHost({
    name: "fiji",
    env: { GODWIT_TICK_EVERY: "100ms", GODWIT_CHECKPOINT_EVERY: "500ms" },
  });
});
afterAll(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A survivor's after so many ticks; one with another magic is refused by its agent_resume, which traps. */
function stateAfter(ticks: bigint, magic = "SURV"): Uint8Array {
  const state = Buffer.alloc(328);
  state.write(magic);
  state.writeUInt32LE(1, 4);
  state.writeBigUInt64LE(ticks, 8);
  return new Uint8Array(state);
}

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const state = stateAfter(9_998n);
const content: SeedFileContent = { moduleDigest, state, tick: 9_998n, budget: 1_970_000n };
const checkpoint = (name: string, changes: Partial<SeedFileContent> = {}) =>
  write(`${name}.checkpoint`, seedCheckpointFile({ ...content, ...changes }));
const receipt = {
  nodeId: hostIdOf(seedNode.publicKey),
  firstTick: 1n,
  lastTick: 9_998n,
  cost: 30n,
  budgetAfter: 1_970_000n,
};

const godwit = (...argv: readonly string[]) =>
  runCommand(argv, { registry: cluster.registry.grpcAddress, pricing: "127.0.0.1:1" });
const imports = (path: string, ...more: readonly string[]) => godwit("import", path, "--wasm", wasm, ...more);

/** Of those that a host took; nothing of any other is left on its disk (the last test). */
const taken: string[] = [];

async function takesOver(path: string, ...more: readonly string[]) {
  const ran = await imports(path, "--json", ...more);
  expect(ran).toMatchObject({ code: 0, err: "" });
  const answer = JSON.parse(ran.out);
  taken.push(answer.agentId);
  return answer;
}

describe("import", () => {
  test("T-35: an agent with a signed checkpoint and receipts goes on from its state, and its lineage says from what", async () => {
    const file = checkpoint("reconciler");
    const receipts = write("reconciler.receipts", seedReceiptsFile([receipt]));
    const answer = await takesOver(file, "--receipts", receipts, "--key", agentKey);
    expect(answer).toMatchObject({
      name: "reconciler",
      host: "fiji",
      imported: { format: 4, tick: "9998", publicKey: agentKey, receipts: { count: 1, lastTick: "9998" } },
      remarks: [],
    });
    const { agentId } = answer;
    // The survivor says every tenth tick: it counts on from where it was.
    const milestone = await cluster.waitFor(
      async (signal) => {
        for await (const { line } of host.host.followLogs({ agentId, tail: 100, follow: true }, { signal })) {
          if (line.startsWith("tick ")) return line;
        }
        return undefined;
      },
      { what: "its next milestone" },
    );
    expect(milestone).toMatch(/^tick 10000: /);

    const old = digestOf(readFileSync(file));
    const verified = await godwit("verify", agentId);
    expect(verified).toMatchObject({ code: 0, err: "" });
    expect(verified.out).toContain(`it goes on from a checkpoint of the seed system, format 4, tick 9998, ${old}`);
    expect(verified.out).toContain("taken over from the seed system");
    const { imported, verdict } = JSON.parse((await godwit("verify", agentId, "--json")).out);
    expect({ imported, verdict }).toMatchObject({ verdict: "valid", imported: { digest: old, publicKey: agentKey } });
    expect(imported.receiptsDigest).toBe(digestOf(readFileSync(receipts)));
  });

  test.each([2, 3] as const)(
    "an agent with a checkpoint of format %i goes on, and that it is not signed is said",
    async (format) => {
      const file = checkpoint(`old-${format}`, { format });
      const { agentId, imported, remarks } = await takesOver(
        file,
        "--name",
        "renamed",
        "--budget",
        "3",
        "--on",
        "fiji",
      );
      expect(imported).toMatchObject({ format, budget: "1970000" });
      expect(remarks).toEqual([
        `format ${format} is not signed: that this is the agent's is your word alone`,
        "it had 1.97 units, and goes on with 3",
      ]);
      expect(await host.agent(agentId)).toMatchObject({ name: "renamed", agentId });
    },
  );

  test("an agent in debt goes on with the budget that it is given, and only then", async () => {
    const file = checkpoint("poor", { budget: -5n });
    const refused = await imports(file);
    expect(refused).toMatchObject({ code: 1, out: "" });
    expect(refused.err).toMatch(/BUDGET_INVALID: .*-0.000005 units.*--budget/);
    const { remarks } = await takesOver(file, "--budget", "0.5", "--key", agentKey);
    expect(remarks).toEqual(["it had -0.000005 units, and goes on with 0.5"]);
  });

  test("T-30: signed anew by another key, or with the signature taken off: refused where the agent's key is known", async () => {
    const anew = await imports(checkpoint("signed-anew", { agent: stranger }), "--key", agentKey);
    expect(anew).toMatchObject({ code: 5, out: "" });
    expect(anew.err).toMatch(/CHECKPOINT_INVALID: .*it is of key [0-9a-f]{64}, and --key asks for/);
    const stripped = await imports(checkpoint("stripped", { format: 3 }), "--key", agentKey);
    expect(stripped).toMatchObject({ code: 5, out: "" });
    expect(stripped.err).toContain("it is not signed in its format 3");
  });

  test("what whoever takes it over should know is said, for people on the error stream", async () => {
    const leaseEndsAtNs = BigInt(Date.UTC(2200, 0)) * 1_000_000n;
    const file = checkpoint("watched", { leaseEndsAtNs, budget: 1_969_000n });
    const receipts = write("short.receipts", seedReceiptsFile([{ ...receipt, lastTick: 9_000n }]));
    const ran = await imports(file, "--receipts", receipts);
    expect(ran.code).toBe(0);
    expect(ran.out).toContain("watched goes on on fiji from tick 9998 of the seed system");
    expect(ran.out).toContain("its 1 receipts are in order, up to tick 9000\n");
    taken.push(ran.out.trim().split("\n").at(-1) ?? "");
    expect(ran.err.split("\n")).toEqual([
      `note: it is signed by key ${agentKey}: --key refuses every other`,
      "note: its host of the seed system has a lease until 2200-01-01T00:00:00Z: make sure that it is stopped",
      "note: no receipts cover ticks 9001 to 9998",
      "note: 0.001 units went without a receipt, as after a crash of its host",
      "",
    ]);
  });

  const flipped = (path: string, at: number) => {
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    return write(`flipped-${at}.checkpoint`, bytes);
  };
  test.for<[string, () => readonly string[], string]>([
    ["of another module", () => [checkpoint("other", { moduleDigest: "ab".repeat(32) })], "CHECKPOINT_INVALID"],
    ["with a stranger's signature", () => [checkpoint("forged", { signer: stranger })], "SIGNATURE_INVALID"],
    ["with a flipped byte in its state", () => [flipped(checkpoint("whole"), 300)], "SIGNATURE_INVALID"],
    ["with a flipped byte in its module's digest", () => [flipped(checkpoint("whole"), 30)], "CHECKPOINT_INVALID"],
    ["that its agent cannot resume", () => [checkpoint("strange", { state: stateAfter(1n, "XXXX") })], "STATE_INVALID"],
    [
      "with receipts of a stranger",
      () => [
        checkpoint("whole"),
        "--receipts",
        write("forged.receipts", seedReceiptsFile([{ ...receipt, signer: stranger }])),
      ],
      "SIGNATURE_INVALID",
    ],
    [
      "with receipts that claim 2^32 - 1 entries",
      () => [checkpoint("whole"), "--receipts", write("claims.receipts", Uint8Array.of(255, 255, 255, 255))],
      "CHECKPOINT_INVALID",
    ],
    ["that is none", () => [write("none.checkpoint", new TextEncoder().encode("{}"))], "CHECKPOINT_INVALID"],
    ["that is not there", () => [join(folder, "no.checkpoint")], "DISK_FAILED"],
  ])("T-33: a checkpoint %s is refused", async ([, argv, code]) => {
    const [path = "", ...more] = argv();
    const ran = await imports(path, ...more);
    expect(ran.out).toBe("");
    expect(ran.err).toContain(`error: ${code}: `);
    expect(ran.code).toBeGreaterThan(0);
  });

  test("T-33: nothing is left of those that were refused, and they begin nowhere from zero", async () => {
    const { agents } = await host.host.listAgents({ includeReplicas: true });
    expect(agents.map(({ agentId }) => agentId).toSorted()).toEqual(taken.toSorted());
    await host.stop();
    const database = new DatabaseSync(join(host.dataDir, "host.db"), { readOnly: true });
    for (const table of ["agents", "headers", "states", "staging", "set_aside"]) {
      const rows = database.prepare(`SELECT DISTINCT agent_id FROM ${table}`).all();
      expect(
        rows.filter((row) => !taken.includes(String(row["agent_id"]))),
        table,
      ).toEqual([]);
    }
    expect(database.prepare("SELECT count(*) AS count FROM blobs").get()).toEqual({ count: 2 }); // module and manifest
    database.close();
  });
});
