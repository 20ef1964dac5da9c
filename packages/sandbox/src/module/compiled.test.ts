import { describe, expect, test } from "vitest";
import { compileWasm } from "../engine.ts";
import { defaultSandboxRules, pageBytes } from "../rules.ts";
import { counterAgent } from "../testing/counter-agent.ts";
import { op } from "../testing/wasm-builder.ts";
import { ModuleCache } from "./compiled.ts";

/** A cache that counts how often something was compiled. */
function counting() {
  const counted = { compiled: 0 };
  const cache = new ModuleCache(defaultSandboxRules, async (bytes) => {
    counted.compiled += 1;
    return await compileWasm(bytes);
  });
  return { counted, cache };
}

describe("a module's code", () => {
  test("is compiled once for each memory limit, whoever asks at the same time", async () => {
    const { counted, cache } = counting();
    const [module, again] = await Promise.all([
      cache.compile(counterAgent(), new Set()),
      cache.compile(counterAgent(), new Set()),
    ]);
    expect(again).toBe(module);
    const [one, other] = await Promise.all([module.code(2 * pageBytes), module.code(2 * pageBytes + 1)]);
    expect(one.code).toBe(other.code);
    expect(counted.compiled).toBe(2);
  });

  test("T-25: is kept for a few memory limits, those that were asked for last", async () => {
    const { counted, cache } = counting();
    const module = await cache.compile(counterAgent(), new Set());
    for (let pages = 1; pages <= 10; pages++) await module.code(pages * pageBytes);
    expect(counted.compiled).toBe(11);
    await module.code(7 * pageBytes);
    await module.code(11 * pageBytes);
    await module.code(7 * pageBytes);
    expect(counted.compiled).toBe(12);
    await module.code(8 * pageBytes);
    expect(counted.compiled).toBe(13);
  });

  test("that does not compile is refused, and tried anew when it is asked for again", async () => {
    const { counted, cache } = counting();
    const broken = counterAgent({ parts: { agent_init: { code: [...op.const(1)] } } });
    for (const compiled of [1, 2]) {
      await expect(cache.compile(broken, new Set())).rejects.toMatchObject({ code: "MODULE_INVALID" });
      expect(counted.compiled).toBe(compiled);
    }
  });
});
