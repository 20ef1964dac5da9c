import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { type Checkpoint, refOf, toProtoRef } from "@godwit/lineage";
import { ada, bob, cleo, next, registry, stranger, travelled } from "@godwit/lineage/testing";
import { AuthorityState, type HistoryEntrySchema } from "@godwit/proto/godwit/registry/v1/authority";
import { describe, expect, onTestFinished, test } from "vitest";
import { FakeCluster, type FakeHostSpec } from "./fake-cluster.ts";
import { runCommand } from "./run-command.ts";

type Entry = MessageInitShape<typeof HistoryEntrySchema>;

const { created, adaTicks, bobFirst, bobLast, cleoFirst, cleoLast } = travelled();
const agentId = created.header.agentId;
const calm = [created, ...adaTicks, bobFirst, bobLast];
const whole = [created, ...adaTicks, bobFirst, cleoFirst, cleoLast];
const twin = next(bobFirst, { host: bob, text: "twin" });
const forced = next(bobLast, { host: cleo, term: { era: 0n, major: 3n }, origin: "recovered" });
const key = hex(registry.publicKey);
const nowhere = { registry: "127.0.0.1:1", pricing: "127.0.0.1:1" };

interface Story {
  readonly shown?: readonly Checkpoint[];
  readonly others?: readonly (Partial<FakeHostSpec> & { readonly shown?: readonly Checkpoint[] })[];
  readonly head?: Checkpoint;
  readonly history?: readonly Entry[];
  readonly publicKey?: Uint8Array;
  readonly bases?: readonly { readonly major: bigint; readonly from: Checkpoint }[];
}

function shows(headers: readonly Checkpoint[]) {
  return {
    async *getLineage() {
      for (const { signed } of headers) yield { header: signed };
    },
  };
}

async function start({
  shown = whole,
  others = [],
  head,
  history,
  publicKey = registry.publicKey,
  bases = [],
}: Story = {}) {
  return await FakeCluster.start({
    hosts: [
      { hostId: cleo.hostId, name: "cuba", handlers: shows(shown) },
      ...others.map(({ shown: headers = [], ...host }, index) => ({
        hostId: [ada, bob][index]?.hostId ?? "",
        name: ["aruba", "bali"][index] ?? "",
        handlers: shows(headers),
        ...host,
      })),
    ],
    records: [
      {
        agentId,
        name: "survivor",
        state: AuthorityState.ACTIVE_OWNER,
        owner: { hostId: cleo.hostId, bootId: cleo.bootId },
        head: toProtoRef(refOf(head ?? shown.at(-1) ?? created)),
        bases: bases.map(({ major, from }) => ({ era: 0n, major, startedFrom: toProtoRef(refOf(from)) })),
      },
    ],
    authority: history === undefined ? {} : { getAgentHistory: () => ({ entries: [...history] }) },
    sessions: { describeRegistry: () => ({ publicKey }) },
  });
}

const entry = (command: string, major: bigint, host: typeof ada, tick: bigint, note = ""): Entry => ({
  atUnixNs: 1_700_000_000_000_000_000n,
  command,
  major,
  owner: { hostId: host.hostId, bootId: host.bootId },
  tick,
  note,
});
const honest = [
  entry("recover", 2n, cleo, 15n, `from host ${bob.hostId}, from tick 15, rolled back from tick 20`),
  entry("claim", 1n, bob, 10n, "handoff h"),
  entry("acquire", 0n, ada, 0n, "created"),
];

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "godwit-evidence-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

describe("verify", () => {
  test("a lineage that holds: who owned the agent, from whom, and exit code 0", async () => {
    await using cluster = await start({ shown: calm, history: honest });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/1 +\S+ +migrated +\S+ +\S+ +11 +20/);
    expect(ran.out).toContain("5 headers from cuba; 5 checkpoints on the lineage, 0 gaps, 0 orphans");
    expect(ran.out).toMatch(/by the registry's word[\s\S]+claim: handoff h/);
    expect(ran.out).toContain("the lineage holds\n");
  });

  test("one with a rollback and orphans: exit code 0, and both are said, for people and for programs", async () => {
    await using cluster = await start({ shown: [...whole, bobLast], head: cleoLast, history: honest });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("rolled back from tick 20: 5 ticks given up");
    expect(ran.out).toMatch(/orphan: tick 20 of major 1 .*newer than what the next owner started from/);
    expect(ran.out).toContain("the lineage holds, with what is said above");
    const asJson = JSON.parse((await runCommand(["verify", "survivor", "--json"], cluster)).out);
    expect(asJson).toMatchObject({
      agentId,
      holds: true,
      verdict: "valid-with-remarks",
      registryKey: key,
      registryKeyFrom: "registry",
      orphans: [{ tick: "20", kind: "after-base" }],
      contradictions: [],
    });
    expect(asJson.owners.at(-1)).toMatchObject({
      host: "cuba",
      lastTickSeen: "25",
      rollback: { ticks: "5", held: true },
      registrySays: { command: "recover" },
    });
  });

  test("grants that another registry signed: exit code 1, and what is wrong", async () => {
    await using cluster = await start({ publicKey: ada.signer.publicKey });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.out).toContain("problem: invalid");
    expect(ran.out).toContain("the lineage does NOT hold");
  });

  test("a registry with another key than the one that was given: said loudly, exit code 1", async () => {
    await using cluster = await start({ publicKey: stranger.publicKey });
    const ran = await runCommand(["verify", "survivor", "--registry-key", key], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.out).toContain("CONTRADICTION: registry-key");
  });

  test("a host that keeps back what the registry knows of: exit code 1", async () => {
    await using cluster = await start({ shown: [created], head: cleoLast });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.out).toContain("problem: older-than-registry");
  });

  test("a flipped byte: exit code 1", async () => {
    const payload = new Uint8Array(cleoLast.signed.payload);
    payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
    const flipped = { ...cleoLast, signed: { ...cleoLast.signed, payload } };
    await using cluster = await start({ shown: [...whole.slice(0, -1), flipped], head: cleoFirst });
    expect(await runCommand(["verify", "survivor"], cluster)).toMatchObject({ code: 1 });
  });

  test.for<[string, readonly Entry[]]>([
    ["history-owner", [entry("recover", 2n, bob, 15n)]],
    ["history-origin", [entry("claim", 1n, bob, 10n), entry("recover", 1n, bob, 10n)].slice(1)],
    ["history-base", [entry("recover", 2n, cleo, 20n)]],
  ])(
    "%s: a history that says another thing than the signatures is a contradiction, exit code 1",
    async ([kind, history]) => {
      await using cluster = await start({ history });
      const ran = await runCommand(["verify", "survivor"], cluster);
      expect(ran).toMatchObject({ code: 1 });
      expect(ran.out).toContain(`CONTRADICTION: ${kind}`);
      expect(ran.out).toContain("CONTRADICTS the registry");
    },
  );

  test("registry-base, registry-head: a record that says another thing than the signatures is a contradiction", async () => {
    const other = next(cleoFirst, { host: cleo, text: "other" });
    await using cluster = await start({ head: other, bases: [{ major: 2n, from: bobLast }] });
    const { code, out } = await runCommand(["verify", "survivor", "--json"], cluster);
    expect(code).toBe(1);
    const { verdict, contradictions } = JSON.parse(out);
    expect(verdict).toBe("contradicted");
    expect(contradictions.map(({ kind }: { kind: string }) => kind)).toEqual(["registry-head", "registry-base"]);
  });

  test("§4: an operator's choice is told by the history, and its absence there is a contradiction", async () => {
    const shown = [...calm, twin, forced];
    const choice = entry("force_recover", 2n, cleo, 20n, "tick 20: the disk of bali was copied");
    const chosen = [entry("recover", 3n, cleo, 20n), choice, ...honest.slice(1)];
    await using decided = await start({ shown, history: chosen });
    const ran = await runCommand(["verify", "survivor"], decided);
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.out).toContain("force_recover: tick 20: the disk of bali was copied");
    expect(ran.out).toMatch(/fork: two checkpoints of tick 20, major 1, left behind by major 3/);
    await using silent = await start({ shown, history: chosen.filter(({ command }) => command !== "force_recover") });
    const other = await runCommand(["verify", "survivor"], silent);
    expect(other).toMatchObject({ code: 1 });
    expect(other.out).toContain("CONTRADICTION: history-choice");
  });

  test("a registry that does not give its history: the signatures are told without it", async () => {
    await using cluster = await FakeCluster.start({
      hosts: [{ hostId: cleo.hostId, name: "cuba", handlers: shows(whole) }],
      records: [{ agentId, name: "survivor", owner: { hostId: cleo.hostId, bootId: cleo.bootId } }],
      sessions: { describeRegistry: () => ({ publicKey: registry.publicKey }) },
      authority: {
        getAgentHistory: () => {
          throw new Fault({ code: "STORE_UNAVAILABLE", reason: "not now" });
        },
      },
    });
    const ran = await runCommand(["verify", "survivor"], cluster);
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.out).toContain("not asked, or it does not say");
  });

  test("--all asks every host, and says of each how many orphans it shows", async () => {
    await using cluster = await start({ others: [{ shown: [] }, { shown: [...calm] }] });
    const ran = await runCommand(["verify", "survivor", "--all"], cluster);
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.out).toContain("cuba shows 6 headers, 0 of them orphans");
    expect(ran.out).toContain("bali shows 5 headers, 1 of them orphans");
  });
});

describe("verify --file", () => {
  test("what was exported is verified where no service answers, and says whose key it relies on", async () => {
    await using cluster = await start({ shown: [...whole, bobLast], head: cleoLast });
    const file = join(folder(), "survivor.lineage");
    const exported = await runCommand(["verify", "survivor", "--export", file], cluster);
    expect(exported).toMatchObject({ code: 0 });
    const own = await runCommand(["verify", "--file", file], nowhere);
    expect(own).toMatchObject({ code: 0, err: "" });
    expect(own.out).toContain("as the file says itself");
    expect(own.out).toContain("not asked, or it does not say");
    const pinned = await runCommand(["verify", agentId, "--file", file, "--registry-key", key, "--json"], nowhere);
    expect(pinned).toMatchObject({ code: 0 });
    expect(JSON.parse(pinned.out)).toMatchObject({ holds: true, registryKeyFrom: "caller", orphans: [{ tick: "20" }] });
    const other = await runCommand(["verify", "--file", file, "--registry-key", hex(stranger.publicKey)], nowhere);
    expect(other).toMatchObject({ code: 1 });
    expect(await runCommand(["verify", "another", "--file", file], nowhere)).toMatchObject({ code: 1 });
  });

  test("a file that is missing, cut or something else could not be read: exit code 5", async () => {
    await using cluster = await start();
    const path = folder();
    const file = join(path, "survivor.lineage");
    await runCommand(["verify", "survivor", "--export", file], cluster);
    const bytes = readFileSync(file);
    for (const [name, content] of [
      ["cut", bytes.subarray(0, -1)],
      ["empty", ""],
      ["text", "hello"],
    ] as const) {
      writeFileSync(join(path, name), content);
      expect(await runCommand(["verify", "--file", join(path, name)], nowhere)).toMatchObject({ code: 5, out: "" });
    }
    expect(await runCommand(["verify", "--file", join(path, "missing")], nowhere)).toMatchObject({ code: 5, out: "" });
  });

  test("wrong words: exit code 2, and what is missing", async () => {
    for (const argv of [["verify"], ["verify", "--file", "x", "--all"], ["verify", "a", "--registry-key", "12"]]) {
      const ran = await runCommand(argv, nowhere);
      expect(ran).toMatchObject({ code: 2 });
      expect(ran.err).toMatch(/AGENT|--file|--registry-key/);
    }
  });
});

describe("evidence", () => {
  test("EI-11: two hosts that hold two checkpoints of one tick give a proof that anybody can check offline", async () => {
    const others = [{ shown: [...calm.slice(0, -1), twin] }, { shown: calm }];
    await using cluster = await start({ shown: calm, others });
    const file = join(folder(), "proof");
    const found = await runCommand(["evidence", "survivor", "--out", file], cluster);
    expect(found).toMatchObject({ code: 0 });
    expect(found.out).toContain(`host ${bob.hostId} has signed two checkpoints for tick 20`);
    const checked = await runCommand(["evidence", "--check", file, "--registry-key", key, "--json"], nowhere);
    expect(checked).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(checked.out)).toMatchObject({ proven: true, agentId, hostId: bob.hostId, tick: "20" });
  });

  test("a proof does not hold under the key of another registry, nor when a byte of it was changed", async () => {
    await using cluster = await start({ shown: [...calm, twin] });
    const path = folder();
    const file = join(path, "proof");
    await runCommand(["evidence", "survivor", "--out", file], cluster);
    const other = ["evidence", "--check", file, "--registry-key", hex(stranger.publicKey), "--json"];
    const refused = await runCommand(other, nowhere);
    expect(refused).toMatchObject({ code: 1 });
    expect(JSON.parse(refused.err)).toMatchObject({ error: { code: "EVIDENCE_INVALID" } });
    expect(refused.err).toContain("other-registry");
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(file, bytes);
    expect(await runCommand(["evidence", "--check", file, "--registry-key", key], nowhere)).toMatchObject({ code: 1 });
    writeFileSync(file, bytes.subarray(0, 50));
    expect(await runCommand(["evidence", "--check", file, "--registry-key", key], nowhere)).toMatchObject({ code: 5 });
    expect(await runCommand(["evidence", "--check", file], nowhere)).toMatchObject({ code: 2 });
  });

  test("where nobody signed twice nothing is written: exit code 1", async () => {
    await using cluster = await start({ shown: calm });
    const file = join(folder(), "proof");
    const ran = await runCommand(["evidence", "survivor", "--out", file], cluster);
    expect(ran).toMatchObject({ code: 1, err: "" });
    expect(ran.out).toContain("0 proofs in 5 headers from cuba");
    expect(() => readFileSync(file)).toThrow("ENOENT");
  });

  test("files will do: an export of each of two hosts, and what proves nothing says why", async () => {
    const path = folder();
    const exports: string[] = [];
    for (const [name, shown] of [
      ["a", calm],
      ["b", [...calm.slice(0, -1), twin]],
    ] as const) {
      await using cluster = await start({ shown });
      const file = join(path, name);
      await runCommand(["verify", "survivor", "--export", file], cluster);
      exports.push(file);
    }
    const from = exports.flatMap((file) => ["--from", file]);
    const proof = join(path, "proof");
    const found = await runCommand(["evidence", ...from, "--registry-key", key, "--out", proof], nowhere);
    expect(found).toMatchObject({ code: 0 });
    const checked = await runCommand(["evidence", "--check", proof, "--registry-key", key], nowhere);
    expect(checked.out).toContain("this proof holds");
    const same = await runCommand(["evidence", "--from", exports[0] ?? "", "--registry-key", key], nowhere);
    expect(same).toMatchObject({ code: 1 });
    writeFileSync(join(path, "text"), "hello");
    const text = await runCommand(["evidence", "--from", join(path, "text"), "--registry-key", key], nowhere);
    expect(text).toMatchObject({ code: 5 });
  });
});
