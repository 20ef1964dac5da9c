// What anybody may hand over as an agent: 100,000 bad manifests and as many bad modules each give what they promise or a typed refusal,
// and no memory stays taken. What is still a module runs, in a real worker.

import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { mutations } from "@godwit/lineage/testing";
import { afterAll, expect, test } from "vitest";
import { capabilities as allCapabilities } from "../src/abi.ts";
import { parseManifest } from "../src/manifest.ts";
import { readShape } from "../src/module/shape.ts";
import { defaultSandboxRules } from "../src/rules.ts";
import { Sandbox } from "../src/sandbox.ts";
import { type CounterOptions, counterAgent } from "../src/testing/counter-agent.ts";
import { op, u32 } from "../src/testing/wasm-builder.ts";

// Most of the time would be spent on traces of refusals that nobody reads.
Error.stackTraceLimit = 0;

const COUNT = 100_000;
/** Far more than garbage that was not collected yet, far less than what a lie about a length would take. */
const MAX_GROWTH_BYTES = 512 * 2 ** 20;
/** Of a refusal, which travels to whoever sent the bytes. */
const MAX_REASON_CHARACTERS = 2_000;

const sandbox = new Sandbox({ clock: systemClock }, { ...defaultSandboxRules, workers: 1 });
afterAll(() => sandbox.stop());

/** How many of the inputs `read` took; what it throws must be its fault. */
async function taken(
  inputs: Iterable<Uint8Array>,
  read: (bytes: Uint8Array) => unknown,
  code: "MANIFEST_INVALID" | "MODULE_INVALID",
): Promise<number> {
  let count = 0;
  const before = process.memoryUsage().rss;
  for (const bytes of inputs) {
    try {
      await read(bytes);
      count += 1;
    } catch (error) {
      if (!isFault(error, code) || error.detail.reason.length > MAX_REASON_CHARACTERS) throw error;
    }
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  return count;
}

test("manifests", async () => {
  const full = {
    capabilities: { clock: { version: 1 }, rand: { version: 1, options: { seed: null } }, http: { version: 1 } },
    resource_limits: { max_memory_bytes: 67_108_864, max_cpu_millis: 50, max_storage_bytes: 65_536 },
    migration_policy: { enabled: true, max_price_per_second: 2_000, preferred_regions: ["eu", "na"] },
    recovery_policy: "strict",
  };
  const manifests = [full, { capabilities: full.capabilities }, { resource_limits: full.resource_limits }, {}];
  const originals = manifests.map((manifest) => new TextEncoder().encode(JSON.stringify(manifest)));
  const read = await taken(mutations(originals, { seed: 11, count: COUNT }), parseManifest, "MANIFEST_INVALID");
  expect(read).toBeGreaterThan(10_000);
});

const say = { code: [...op.const(16), ...op.const(8), ...op.call(0)] };
const exit = { module: "wasi_snapshot_preview1", name: "proc_exit", params: ["i32"], results: [] } as const;
const note = { id: 0, body: [4, ...new TextEncoder().encode("note"), 1, 2, 3] };
const options: CounterOptions[] = [
  {},
  { memories: [[0x01, 1, 2]], extra: [note] },
  { hostcalls: ["log_emit"], tables: [[0x70, 0x00, 1]], start: 1, parts: { agent_init: say } },
  { imports: [exit], parts: { _initialize: { code: [] } } },
];
const modules = options.map((option) => counterAgent(option));

/** Half of them changed anywhere, half inside of a section whose length is right again, so that what is in it is read. */
function* badModules(): Generator<Uint8Array> {
  yield* mutations(modules, { seed: 12, count: COUNT / 2 });
  const places = modules.flatMap((bytes) => readShape(bytes).sections.map((section) => ({ bytes, ...section })));
  const count = Math.ceil(COUNT / 2 / places.length);
  for (const [index, { bytes, id, from, bodyFrom, to }] of places.entries()) {
    for (const body of mutations([bytes.subarray(bodyFrom, to)], { seed: 100 + index, count })) {
      yield Buffer.concat([bytes.subarray(0, from), Uint8Array.of(id, ...u32(body.length)), body, bytes.subarray(to)]);
    }
  }
}

test("T-25, T-26: modules: compiled when nothing is wrong that can be seen, then begun and run", async () => {
  const capabilities = new Set(allCapabilities);
  const { signal } = new AbortController();
  const view = { balanceMicrocents: 1n, pricePerSecond: 1n, receipts: [] };
  let trapped = 0;
  const run = async (bytes: Uint8Array) => {
    const module = await sandbox.compile(bytes, capabilities);
    const agent = await sandbox.start({ agentId: "agent", module, capabilities, state: undefined, signal });
    if ((await agent.tick(view, signal)).kind === "failed") trapped += 1;
    await agent.stop();
  };
  const ran = await taken(badModules(), run, "MODULE_INVALID");
  expect(ran).toBeGreaterThan(1_000);
  expect(trapped).toBeGreaterThan(20);
});
