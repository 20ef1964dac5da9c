import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf, encodeCheckpoint, encodeEvidence, encodeLineageFile, evidenceOf } from "@godwit/lineage";
import {
  ada,
  createAgent,
  next,
  registry,
  seedAgent,
  seedCheckpointFile,
  state,
  stranger,
} from "@godwit/lineage/testing";
import { afterAll, describe, expect, test } from "vitest";
import { runCommand } from "./run-command.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-inspect-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const key = hex(registry.publicKey);
const golden = hex(seedAgent.publicKey);
const module = state("module");
const moduleDigest = digestOf(module);
const inspect = (...argv: readonly string[]) =>
  runCommand(["inspect", ...argv], { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" });

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const wasm = write("module.wasm", module);
const content = { moduleDigest, state: state("0123456789abcdefX"), leaseEndsAtNs: 1_700_000_000_000_000_000n };

describe("inspect", () => {
  test("a signed checkpoint of the seed system, with the labels of the seed", async () => {
    const file = seedCheckpointFile({ ...content, previous: "ab".repeat(32) });
    const ran = await inspect(write("v4", file), "--wasm", wasm);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out.split("\n")).toEqual([
      "File:             a checkpoint of the seed system",
      "Version:          4",
      "Budget:           2 units (2000000 microcents)",
      "Price/Second:     0.001 units (1000 microcents)",
      "Tick Number:      10",
      `WASM Hash:        ${moduleDigest}`,
      "WASM Check:       MATCH, of that module",
      "Epoch:            (3,7)",
      "Lease Expiry:     2023-11-14T22:13:20Z",
      `Agent Key:        ${golden}`,
      `Prev Hash:        ${"ab".repeat(32)}`,
      "Signature:        VALID, by that key",
      "Header Size:      209 bytes",
      "Total Size:       226 bytes",
      "State Size:       17 bytes",
      `Digest:           ${digestOf(file)}`,
      "Hex Dump:",
      "  00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
      "  00000010  58                                               X",
      "",
    ]);
  });

  test("of the older formats, an empty and a long state, a debt, and no lease", async () => {
    const v3 = await inspect(
      write("v3", seedCheckpointFile({ ...content, format: 3, budget: -5n, leaseEndsAtNs: 0n })),
    );
    expect(v3).toMatchObject({ code: 0, err: "" });
    expect(v3.out).toContain("Header Size:      81 bytes\n");
    expect(v3.out).toContain("Budget:           -0.000005 units");
    expect(v3.out).toContain("Lease Expiry:     (none)\n");
    expect(v3.out).not.toContain("Signature:");
    const v2 = await inspect(write("v2", seedCheckpointFile({ ...content, format: 2, state: new Uint8Array() })));
    expect(v2.out).toContain("Header Size:      57 bytes\n");
    expect(v2.out).not.toMatch(/Epoch:|Hex Dump:/);
    const long = await inspect(
      write("long", seedCheckpointFile({ ...content, format: 3, state: new Uint8Array(300) })),
    );
    expect(long.out.split("\n").filter((line) => /^ {2}[0-9a-f]{8} /.test(line))).toHaveLength(16);
    expect(long.out).toContain("and 44 more bytes");
    const endless = await inspect(write("endless", seedCheckpointFile({ ...content, leaseEndsAtNs: 2n ** 63n - 1n })));
    expect(endless.out).toContain("Lease Expiry:     2262-04-11");
  });

  test("a signature that does not hold, or another module: said, and exit code 1", async () => {
    const forged = await inspect(write("forged", seedCheckpointFile({ ...content, signer: stranger })));
    expect(forged.code).toBe(1);
    expect(forged.out).toContain("Signature:        INVALID\n");
    const other = await inspect(
      write("v4", seedCheckpointFile(content)),
      "--wasm",
      write("other.wasm", state("other")),
    );
    expect(other.code).toBe(1);
    expect(other.out).toContain("WASM Check:       MISMATCH");
  });

  const imported = {
    digest: digestOf(seedCheckpointFile(content)),
    format: 4,
    tick: 10n,
    budget: 2_000_000n,
    publicKey: golden,
    receiptsDigest: undefined,
  };
  const created = createAgent(ada, { imported });
  const second = next(created, { host: ada });

  test("a checkpoint of ours, and whether signature and grant hold where the registry's key is given", async () => {
    const path = write("ours", encodeCheckpoint(second));
    const ran = await inspect(path, "--wasm", wasm, "--registry-key", key);
    expect(ran).toMatchObject({ code: 0, err: "" });
    for (const line of [
      "File:             a checkpoint of Godwit",
      `Agent:            ${created.header.agentId}`,
      "Tick Number:      5",
      "WASM Check:       MATCH, of that module",
      "Epoch:            (0,1)",
      `Prev Hash:        ${created.digest}`,
      `Signature:        VALID, by host ${ada.hostId}`,
      "State Size:       6 bytes",
    ]) {
      expect(ran.out).toContain(`${line}\n`);
    }
    expect((await inspect(path)).out).toContain("Signature:        not checked: give --registry-key\n");
    const foreign = await inspect(path, "--registry-key", hex(stranger.publicKey));
    expect(foreign.code).toBe(1);
    expect(foreign.out).toContain("Signature:        INVALID: the signature of the grant does not verify");
    const first = await inspect(write("first", encodeCheckpoint(created)), "--registry-key", key);
    expect(first.out).toContain(
      `Goes On From:     a checkpoint of the seed system, format 4, tick 10, ${imported.digest}`,
    );
    expect(first.code).toBe(0);
  });

  test("JSON has stable names, and of a state its beginning", async () => {
    const seeds = JSON.parse((await inspect(write("v4", seedCheckpointFile(content)), "--json")).out);
    expect(seeds).toMatchObject({
      kind: "seed-checkpoint",
      format: 4,
      budget: "2000000",
      major: "3",
      publicKey: golden,
      signature: "valid",
      stateBytes: 17,
      stateStart: hex(content.state),
    });
    const ours = JSON.parse(
      (await inspect(write("ours", encodeCheckpoint(second)), "--json", "--registry-key", key)).out,
    );
    expect(ours).toMatchObject({ kind: "checkpoint", tick: "5", digest: second.digest, signer: ada.hostId });
    expect(ours.verified).toEqual({ kind: "holds" });
  });

  test("a lineage and evidence: what they are, and which command reads them", async () => {
    const { publicKey: registryPublicKey } = registry;
    const lineage = write(
      "lineage",
      encodeLineageFile({ registryPublicKey, headers: [created.signed, second.signed] }),
    );
    const shown = await inspect(lineage);
    expect(shown).toMatchObject({ code: 0, err: "" });
    expect(shown.out).toContain("Headers:          2\n");
    expect(shown.out).toContain(`Agent:            ${created.header.agentId} (survivor)\n`);
    expect(shown.out).toContain(`Read It With:     godwit verify --file ${lineage}\n`);
    expect(JSON.parse((await inspect(lineage, "--json")).out)).toMatchObject({ kind: "lineage", headers: 2 });
    const twin = next(created, { host: ada, text: "twin" });
    const proof = write("proof", encodeEvidence(evidenceOf(second.signed, twin.signed, registryPublicKey)));
    const told = await inspect(proof);
    expect(told.out).toContain(`Read It With:     godwit evidence --check ${proof} --registry-key KEY\n`);
    expect(JSON.parse((await inspect(proof, "--json")).out)).toMatchObject({ kind: "evidence", registryKey: key });
  });

  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(), "CHECKPOINT_INVALID: the checkpoint is not valid: it is empty"],
    ["text", state("{}"), "it is no checkpoint of Godwit, nor one of the seed system"],
    ["half of one of the seed's", seedCheckpointFile(content).subarray(0, 100), "its header alone has 209 bytes"],
    ["half of ours", encodeCheckpoint(second).subarray(0, 100), "it is cut short"],
    ["half a lineage", new TextEncoder().encode("GWLN"), "LINEAGE_INVALID"],
    ["half of evidence", new TextEncoder().encode("GWEV"), "EVIDENCE_INVALID"],
  ])("%s cannot be read: exit code 5", async (name, bytes, problem) => {
    const ran = await inspect(write(`bad ${name}`, bytes));
    expect(ran).toMatchObject({ code: 5, out: "" });
    expect(ran.err).toContain(problem);
    expect(await inspect(join(folder, "not there"))).toMatchObject({ code: 5 });
  });
});
