// An agent, or whoever calls, that misbehaves costs nobody else anything (sandbox, typed refusals).

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RetiredReason } from "@godwit/proto/godwit/registry/v1/authority";
import { counterAgent, op } from "@godwit/sandbox/testing";
import { serviceEntry } from "@godwit/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { budget, clusterOf, settlesOnOneOwner, startSurvivor, survivor, survivorWasm, ticksOn } from "./stage.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "godwit-trouble-"));
});
afterAll(() => rm(dir, { recursive: true }));

describe("an endless loop", () => {
  test("T-38: costs the others of its worker no committed tick, and after five failed ticks it is released", async () => {
    const loop = join(dir, "loop.wasm");
    await writeFile(loop, endlessLoop());
    await using cluster = await clusterOf({ name: "a", env: { GODWIT_WORKERS: "1" } });
    const a = cluster.host("a");
    const good = await startSurvivor(cluster, a);
    const { agentId: bad } = await cluster.runAgent(a, loop, { name: "loop", budget });

    let last = 0n;
    const ended = await cluster.waitFor(
      async (signal) => {
        const status = await a.agent(good, signal);
        // Never back: a tick that others have seen stays.
        if (status !== undefined && status.tick < last) throw new Error(`back from ${last} to ${status.tick}`);
        last = status?.tick ?? last;
        const { record } = await cluster.registry.authority.getAgent({ agentId: bad }, { signal });
        return record?.reason === RetiredReason.FAILED ? record : undefined;
      },
      { what: "the loop is released as failed", timeoutMs: 120_000 },
    );
    expect(ended.head?.tick).toBe(0n);
    const retired = await cluster.waitFor(
      async (signal) => {
        const status = await a.agent(bad, signal);
        return status?.state === "RETIRED" ? status : undefined;
      },
      { what: "its host has heard that it is released" },
    );
    expect(retired.tick).toBe(0n);

    const { status, lineage } = await settlesOnOneOwner(cluster, good);
    expect(status.tick).toBeGreaterThan(last);
    // One major, one owner, no gap and no second checkpoint of any tick.
    expect(status.major).toBe(0n);
    expect(lineage).toMatchObject({ gaps: 0, orphans: [] });
  });
});

test("T-26, T-27, T-28, T-43: bad input gets a typed refusal that says what to do; the host lives and its agents tick on", async () => {
  await using cluster = await clusterOf({ name: "a", capabilities: ["clock", "rand", "log", "pricing"] });
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a);
  const before = await a.host.describeHost({});
  const good = await survivor("second");
  const text = join(dir, "not.wasm");
  await writeFile(text, "this is no module");
  const cut = join(dir, "cut.wasm");
  await writeFile(cut, endlessLoop().subarray(0, 40));

  const refused = async (what: Promise<unknown>) => {
    const error: unknown = await what.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({ name: "Fault", message: expect.stringMatching(/\S/) });
    return (error as { readonly code: string }).code;
  };
  const unknown = "f".repeat(64);
  const run = (path: string, options: Partial<typeof good>) => cluster.runAgent(a, path, { ...good, ...options });
  expect(await refused(a.host.getAgent({ agentId: unknown }))).toBe("AGENT_UNKNOWN");
  expect(await refused(a.host.getAgent({ agentId: "" }))).toBe("INVALID_ARGUMENT");
  expect(await refused(a.host.stopAgent({ agentId: unknown }))).toBe("AGENT_UNKNOWN");
  expect(await refused(firstOf(a.host.migrateAgent({ agentId: unknown })))).toBe("AGENT_UNKNOWN");
  expect(await refused(cluster.registry.authority.getAgent({ agentId: unknown }))).toBe("AGENT_UNKNOWN");
  expect(await refused(run(text, {}))).toBe("MODULE_INVALID");
  expect(await refused(run(cut, {}))).toBe("MODULE_INVALID");
  expect(await refused(run(survivorWasm, { name: "no/name" }))).toBe("INVALID_ARGUMENT");
  expect(await refused(run(survivorWasm, { budget: 2n ** 64n - 1n }))).toBe("BUDGET_INVALID");
  // Deny by default: it imports what its manifest does not declare.
  expect(await refused(run(survivorWasm, { manifest: {} }))).toBe("MODULE_INVALID");
  const dear = { capabilities: { wallet: { version: 1 } } };
  expect(await refused(run(survivorWasm, { manifest: dear }))).toBe("CAPABILITY_MISSING");
  const large = { ...good.manifest, resource_limits: { max_memory_bytes: 2 ** 32 } };
  expect(await refused(run(survivorWasm, { manifest: large }))).toBe("MEMORY_TOO_LARGE");
  expect(await refused(a.host.runAgent(specOnly("{ not json")))).toBe("MANIFEST_INVALID");
  const parts = (name: string, part: object) => counterAgent({ parts: { [name]: part } });
  const hostile: readonly (readonly [string, Uint8Array])[] = [
    ["a checkpoint without a size", parts("agent_checkpoint", { results: [], code: [] })],
    ["malloc of 64 bits", parts("malloc", { results: ["i64"], code: op.const64(0) })],
    ["a memory that nobody sees", counterAgent({ memoryExport: undefined })],
    ["no memory", counterAgent({ memories: [], memoryExport: undefined })],
    ["another agent's memory", counterAgent({ extra: [{ id: 2, body: [1, 1, 0x61, 1, 0x62, 0x02, 0x00, 0x01] }] })],
    ["a checkpoint of 4 GiB", parts("agent_checkpoint", { code: op.const(-1) })],
    ["an endless _initialize", parts("_initialize", { code: op.forever })],
    ["an endless agent_init", parts("agent_init", { code: op.forever })],
    ["an endless agent_checkpoint", parts("agent_checkpoint", { code: [...op.forever, ...op.const(0)] })],
    ["a trapping agent_init", parts("agent_init", { code: op.unreachable })],
  ];
  for (const [what, module] of hostile) {
    const path = join(dir, "hostile.wasm");
    await writeFile(path, module);
    expect(await refused(run(path, { manifest: {} })), what).toBe("MODULE_INVALID");
  }
  const newer = { capabilities: { clock: { version: 99 } } };
  expect(await refused(run(survivorWasm, { manifest: newer }))).toBe("MANIFEST_INVALID");
  const negative = { ...good.manifest, resource_limits: { max_cpu_millis: -1 } };
  expect(await refused(run(survivorWasm, { manifest: negative }))).toBe("MANIFEST_INVALID");
  const stateless = { ...good.manifest, resource_limits: { max_storage_bytes: 1 } };
  expect(await refused(run(survivorWasm, { manifest: stateless }))).toBe("MODULE_INVALID");
  expect(await refused(run(survivorWasm, { name: "" }))).toBe("INVALID_ARGUMENT");
  expect(await refused(a.host.setPrice({ pricePerSecond: 2n ** 64n - 1n }))).toBe("INVALID_ARGUMENT");

  const after = await a.host.describeHost({});
  expect(after).toMatchObject({ bootId: before.bootId, agents: 1 });
  const { agents } = await a.host.listAgents({ includeReplicas: true });
  expect(agents.map((agent) => agent.agentId)).toEqual([agentId]);
  const { tick } = await ticksOn(cluster, a, agentId);
  await ticksOn(cluster, a, agentId, { after: tick + 2n });
});

test.each([
  { name: "a flag that there is not", args: ["--nonsense"], says: "nonsense" },
  { name: "a value out of range", args: ["--migration-retries", "0"], says: "migration-retries" },
  { name: "a limit of -1", args: ["--max-memory=-1"], says: "max-memory" },
])("T-53: a wrong flag ends a host with code 2 before it touches anything: $name", async ({ args, says }) => {
  const data = join(dir, "untouched");
  const child = spawn(process.execPath, [serviceEntry("agent-host"), "--data", data, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const [code] = (await once(child, "close", { signal: AbortSignal.timeout(120_000) })) as [number | null];
  expect(output).toContain(says);
  expect(code).toBe(2);
  await expect(writeFile(join(data, "probe"), "")).rejects.toThrow("ENOENT");
});

async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}

/** The upload of a module with a manifest that is given as text. */
async function* specOnly(manifest: string) {
  const module = endlessLoop();
  const value = {
    name: "bad",
    manifest: new TextEncoder().encode(manifest),
    budget,
    moduleBytes: BigInt(module.length),
  };
  yield { frame: { case: "spec" as const, value } };
  yield { frame: { case: "moduleChunk" as const, value: module } };
  yield {
    frame: { case: "end" as const, value: { sha256: new Uint8Array(createHash("sha256").update(module).digest()) } },
  };
}

/** A whole agent with an empty state, whose tick never ends. */
function endlessLoop(): Uint8Array<ArrayBuffer> {
  const bytes = (text: string) => [...new TextEncoder().encode(text)];
  const list = (items: readonly (readonly number[])[]) => [items.length, ...items.flat()];
  const section = (id: number, content: readonly number[]) => [id, content.length, ...content];
  const exported = (name: string, kind: number, index: number) => [name.length, ...bytes(name), kind, index];
  const body = (...code: readonly number[]) => [code.length + 2, 0, ...code, 0x0b];
  const i32 = 0x7f;
  const [nothing, number, resume] = [0, 1, 2];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(
      1,
      list([
        [0x60, 0, 0],
        [0x60, 0, 1, i32],
        [0x60, 2, i32, i32, 0],
      ]),
    ),
    ...section(3, list([[nothing], [nothing], [number], [number], [resume]])),
    ...section(5, list([[0, 1]])),
    ...section(
      7,
      list([
        exported("memory", 2, 0),
        exported("agent_init", 0, 0),
        exported("agent_tick", 0, 1),
        exported("agent_checkpoint", 0, 2),
        exported("agent_checkpoint_ptr", 0, 3),
        exported("agent_resume", 0, 4),
      ]),
    ),
    // The tick: loop, branch to its start, end.
    ...section(10, list([body(), body(0x03, 0x40, 0x0c, 0, 0x0b), body(0x41, 0), body(0x41, 0), body()])),
  ]);
}
