import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CounterOptions, counterAgent } from "../testing/counter-agent.ts";
import { op, u32 } from "../testing/wasm-builder.ts";
import { hostcalls } from "../abi.ts";
import { compileWasm, instantiateWasm, type WasmFunction, type WasmMemory } from "../engine.ts";
import { admit, checkDeclared, maxTables, memoryPages } from "./admit.ts";
import { bound, startExport } from "./bound.ts";
import { ModuleRefused } from "./reader.ts";

function refusal(bytes: Uint8Array): string {
  try {
    const shape = admit(bytes);
    memoryPages(shape, 1_024);
  } catch (error) {
    if (error instanceof ModuleRefused) return error.message;
    throw error;
  }
  throw new Error("the module was admitted");
}

const i32 = ["i32"] as const;
const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const leb = (value: number): number[] => u32(value);

describe("a module is admitted", () => {
  test("when it exports what an agent has, with or without a result of agent_tick", () => {
    expect(admit(counterAgent()).hostcalls).toEqual([]);
    expect(admit(counterAgent({ parts: { agent_tick: { results: [], code: [] } } })).memoryExport).toBe("memory");
    expect(admit(counterAgent({ parts: { malloc: "absent" } })).hasMalloc).toBe(false);
  });

  test.each(["igor", "godwit"])("when it imports every function of the host from %s", (hostModule) => {
    const names = Object.keys(hostcalls) as (keyof typeof hostcalls)[];
    expect(admit(counterAgent({ hostcalls: names, hostModule })).hostcalls).toEqual(names);
  });

  test("whatever its memory is exported as", () => {
    expect(admit(counterAgent({ memoryExport: "m" })).memoryExport).toBe("m");
  });
});

describe("a module is refused", () => {
  test.each([
    ["nothing", []],
    ["text", [...new TextEncoder().encode("#!/bin/sh")]],
    ["half a header", [0x00, 0x61, 0x73, 0x6d]],
    ["a component", [0x00, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]],
    ["only a header", [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]],
  ])("that is %s", (_, bytes) => {
    expect(refusal(Uint8Array.from(bytes))).not.toBe("");
  });

  test("that is cut short at any byte", () => {
    const whole = counterAgent();
    for (let length = 0; length < whole.length; length++) {
      try {
        admit(whole.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(ModuleRefused);
      }
    }
  });

  test.each(["agent_init", "agent_tick", "agent_checkpoint", "agent_checkpoint_ptr", "agent_resume"])(
    "without %s",
    (name) => {
      expect(refusal(counterAgent({ parts: { [name]: "absent" } }))).toContain(`does not export ${name}`);
    },
  );

  test.each([
    ["agent_tick", { results: ["i64"], code: op.const64(0) }, "exports agent_tick as () -> (i64)"],
    ["agent_checkpoint", { results: [], code: [] }, "it must be () -> (i32)"],
    ["agent_checkpoint_ptr", { params: i32 }, "exports agent_checkpoint_ptr as (i32) -> (i32)"],
    ["agent_resume", { params: i32 }, "it must be (i32, i32) -> ()"],
    ["malloc", { results: ["i64"], code: op.const64(0) }, "exports malloc as (i32) -> (i64)"],
    ["_initialize", { params: i32 }, "exports _initialize as (i32) -> ()"],
  ] as const)("T-26: whose %s has a wrong signature", (name, part, message) => {
    expect(refusal(counterAgent({ parts: { [name]: part } }))).toContain(message);
  });

  test.each([
    [
      "wasi_snapshot_preview1",
      "fd_write",
      "imports wasi_snapshot_preview1.fd_write as () -> (); it is (i32, i32, i32, i32) -> (i32)",
    ],
    ["wasi_snapshot_preview1", "path_walk", "which WASI preview 1 does not have"],
    ["wasi_unstable", "fd_write", "which hosts do not offer"],
    ["env", "abort", "which hosts do not offer"],
    ["victim", "malloc", "which hosts do not offer"],
    ["igor", "kv_put", "which hosts do not offer"],
    ["igor", "toString", "which hosts do not offer"],
    ["igor", "__proto__", "which hosts do not offer"],
    ["godwit", "clock_now", "imports godwit.clock_now as () -> (); it is () -> (i64)"],
  ])("that imports %s.%s as a function without result", (module, name, message) => {
    expect(refusal(counterAgent({ imports: [{ module, name, params: [], results: [] }] }))).toContain(message);
  });

  test.each([
    ["memory", [0x02, 0x00, 0x01]],
    ["table", [0x01, 0x70, 0x00, 0x01]],
    ["global", [0x03, 0x7f, 0x00]],
    ["tag", [0x04, 0x00, 0x00]],
  ])("T-27: that imports a %s", (kind, description) => {
    const extra = [{ id: 2, body: [1, 1, 0x61, 1, 0x62, ...description] }];
    expect(refusal(counterAgent({ extra }))).toContain(`which is a ${kind}`);
  });

  test.each([
    ["none", { memories: [], memoryExport: undefined }, "has no memory"],
    [
      "two",
      {
        memories: [
          [0x00, 1],
          [0x00, 1],
        ],
      },
      "has 2 memories",
    ],
    ["a 64-bit one", { memories: [[0x04, 1]] }, "64-bit memory"],
    ["a shared one", { memories: [[0x03, 1, 1]] }, "shared memory"],
    ["one with pages of another size", { memories: [[0x08, 1, 0]] }, "options that are not offered"],
    ["one that is not exported", { memoryExport: undefined }, "does not export its memory"],
    ["one that begins above the cap", { memories: [[0x00, ...leb(1_025)]] }, "needs 67174400 bytes of memory"],
  ] satisfies [string, CounterOptions, string][])("by its memory: %s", (_, options, message) => {
    expect(refusal(counterAgent(options))).toContain(message);
  });

  test.each([
    ["one that is too large", { tables: [[0x70, 0x00, ...leb(65_537)]] }, "a table of 65537 elements"],
    ["too many", { tables: Array.from({ length: maxTables + 1 }, () => [0x70, 0x00, 1]) }, "has 17 tables"],
    ["a 64-bit one", { tables: [[0x70, 0x04, 1]] }, "64-bit table"],
    ["one with an initial value", { tables: [[0x40, 0x00, 0x70, 0x00, 1, 0xd0, 0x70, 0x0b]] }, "initial value"],
    ["one of garbage-collected things", { tables: [[0x6e, 0x00, 1]] }, "a table of a kind"],
  ] satisfies [string, CounterOptions, string][])("by its tables: %s", (_, options, message) => {
    expect(refusal(counterAgent(options))).toContain(message);
  });

  // Each item of a few bytes becomes an object of a hundred: 8 MiB of them would hold 750 MiB, and the host for two seconds.
  test.each([
    ["types", [1, ...leb(50_001)], "has 50001 entries in section 1"],
    ["functions", [3, ...leb(50_001)], "has 50001 entries in section 3"],
    ["exports", [7, ...leb(2 ** 32 - 1)], "has 4294967295 entries in section 7"],
    ["parameters of a function", [1, 1, 0x60, ...leb(1_001)], "a function of 1001 parameters or results"],
    ["bytes of a name", [7, 1, ...leb(1_025)], "a name of 1025 bytes"],
  ])("T-25: that claims too many %s, before any of them is read", (_, [id = 0, ...body], message) => {
    expect(refusal(Uint8Array.from([...header, id, body.length, ...body]))).toContain(message);
  });

  test("T-25: that is cut into more sections than any compiler writes", () => {
    const empty = [0, 0];
    const sections = (count: number) =>
      Uint8Array.from([...header, ...Array.from({ length: count }, () => empty).flat()]);
    expect(refusal(sections(1_000))).toBe("has no memory");
    expect(refusal(sections(1_001))).toContain("more than 1000 sections");
  });

  test("that throws exceptions of its own, which would be no traps", () => {
    expect(refusal(counterAgent({ extra: [{ id: 13, body: [1, 0, 0] }] }))).toContain("tag section");
  });

  test("that takes the name under which the host calls its start function", () => {
    const bytes = counterAgent({ start: 0, parts: { [startExport]: { code: [] } } });
    expect(() => bound(bytes, admit(bytes), 1_024)).toThrow(startExport);
  });

  test("that needs what its manifest does not declare, which is named together with its capability", () => {
    const { hostcalls: needed } = admit(counterAgent({ hostcalls: ["clock_now", "rand_bytes", "wallet_receipt"] }));
    expect(() => checkDeclared(needed, new Set(["clock"]))).toThrow(
      'imports rand_bytes (capability "rand"), wallet_receipt (capability "wallet"), which its manifest does not declare',
    );
    expect(() => checkDeclared(needed, new Set(["clock", "rand", "wallet"]))).not.toThrow();
  });

  test("by a typed refusal, whatever the bytes are", () => {
    const module = counterAgent({ hostcalls: ["log_emit"], tables: [[0x70, 0x00, 1]], start: 0 });
    const changes = fc.array(fc.tuple(fc.nat(module.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(changes, (edits) => {
        const bytes = module.slice();
        for (const [index, byte] of edits) bytes[index] = byte;
        try {
          bound(bytes, admit(bytes), 1_024);
        } catch (error) {
          expect(error).toBeInstanceOf(ModuleRefused);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("an admitted module", () => {
  async function run(options: CounterOptions, maxPages: number) {
    const bytes = counterAgent({
      ...options,
      parts: { grow: { params: i32, results: i32, code: [...op.local(0), ...op.grow] }, ...options.parts },
    });
    const shape = admit(bytes);
    const rewritten = bound(bytes, shape, maxPages);
    const exports = instantiateWasm(await compileWasm(rewritten), {});
    return {
      bytes,
      rewritten,
      memory: exports["memory"] as WasmMemory,
      exports: exports as Record<string, WasmFunction>,
    };
  }

  test.each([
    ["no maximum", [0x00, 1]],
    ["a maximum above the cap", [0x01, 1, ...leb(65_536)]],
  ])("with %s cannot grow beyond the cap", async (_, memory) => {
    const { exports } = await run({ memories: [memory] }, 10);
    expect(exports["grow"]?.(9)).toBe(1);
    expect(exports["grow"]?.(1)).toBe(-1);
  });

  test("with a lower maximum of its own keeps that, and its bytes", async () => {
    const { exports, bytes, rewritten } = await run({ memories: [[0x01, 1, 2]] }, 10);
    expect(rewritten).toBe(bytes);
    expect(exports["grow"]?.(2)).toBe(-1);
  });

  test("does not run its start function by itself: the host calls it", async () => {
    const write = op.store32(64, op.const(77));
    const { memory, exports } = await run(
      { start: 1, parts: { agent_init: { code: [] }, grow: { params: [], results: [], code: write } } },
      10,
    );
    expect(exports[startExport]).toBeTypeOf("function");
    expect(new Uint8Array(memory.buffer)[64]).toBe(0);
  });

  test("may have sections for tools, which stay where they are", async () => {
    const note = { id: 0, body: [4, ...new TextEncoder().encode("note"), 1, 2, 3] };
    const { rewritten } = await run({ extra: [note], tables: [[0x70, 0x00, 1]] }, 10);
    expect([...rewritten.subarray(-8)]).toEqual([4, ...new TextEncoder().encode("note"), 1, 2, 3]);
  });
});
