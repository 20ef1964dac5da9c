import { isFault } from "@godwit/common/fault";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  declaredCapabilities,
  type Manifest,
  maxManifestBytes,
  missingCapabilities,
  parseManifest,
} from "./manifest.ts";

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function parse(value: unknown): Manifest {
  return parseManifest(bytesOf(value));
}

function reasonFor(value: unknown): string {
  try {
    parse(value);
  } catch (error) {
    if (isFault(error, "MANIFEST_INVALID")) return error.detail.reason;
    throw error;
  }
  throw new Error("the manifest was accepted");
}

describe("a manifest", () => {
  test.each(["", "{}", '{"capabilities": null}', '{"anything": 1}'])(
    "of %j declares nothing and allows migration",
    (text) => {
      const manifest = parse(text);
      expect([...manifest.capabilities]).toEqual([]);
      expect(manifest.migrationPolicy).toEqual({ enabled: true, maxPricePerSecond: undefined, preferredRegions: [] });
      expect(manifest.resourceLimits.maxMemoryBytes).toBeUndefined();
      expect(manifest.recoveryPolicy).toBe("latest");
    },
  );

  test("gives all that it says", () => {
    const manifest = parse({
      capabilities: { clock: { version: 1 }, http: { version: 1, options: { hosts: ["a"] } } },
      resource_limits: { max_memory_bytes: 67108864, max_cpu_millis: 5, max_storage_bytes: 6 },
      migration_policy: { enabled: true, max_price_per_second: 10000, preferred_regions: ["eu"] },
      recovery_policy: "strict",
    });
    expect(manifest.capabilities.get("http")).toEqual({ version: 1, options: { hosts: ["a"] } });
    expect(manifest.resourceLimits).toEqual({ maxMemoryBytes: 67108864, maxCpuMillis: 5, maxStorageBytes: 6 });
    expect(manifest.migrationPolicy).toEqual({ enabled: true, maxPricePerSecond: 10_000n, preferredRegions: ["eu"] });
    expect(manifest.recoveryPolicy).toBe("strict");
  });

  test("with a migration policy that does not say enabled forbids migration", () => {
    expect(parse({ migration_policy: { max_price_per_second: 0 } }).migrationPolicy).toMatchObject({
      enabled: false,
      maxPricePerSecond: undefined,
    });
  });

  test("names what a host lacks, sorted, and what the sandbox links", () => {
    const manifest = parse({ capabilities: { net: { version: 1 }, clock: { version: 1 }, http: { version: 1 } } });
    expect(missingCapabilities(manifest, new Set(["clock", "log"]))).toEqual(["http", "net"]);
    expect(missingCapabilities(manifest, new Set())).toEqual(["clock", "http", "net"]);
    expect([...declaredCapabilities(manifest)]).toEqual(["clock"]);
  });
});

describe("a manifest is refused", () => {
  test.each([
    ["{", "not JSON"],
    ["[]", "must be an object"],
    ["null", "must be an object"],
    ["3", "must be an object"],
    [{ capabilities: [] }, "capabilities must be an object"],
    [{ capabilities: { clock: null } }, "capabilities.clock must be an object"],
    [{ capabilities: { clock: {} } }, "capabilities.clock.version must be 1, not absent"],
    [{ capabilities: { clock: { version: 0 } } }, "must be 1, not 0"],
    [{ capabilities: { clock: { version: 2 } } }, "must be 1, not 2"],
    [{ capabilities: { clock: { version: 1.5 } } }, "must be 1, not 1.5"],
    [{ capabilities: { clock: { version: "1" } } }, "must be 1"],
    [{ capabilities: { clock: { version: 1, options: 3 } } }, "capabilities.clock.options must be an object"],
    [{ capabilities: { "": { version: 1 } } }, "1 to 64 characters"],
    ['{"capabilities": {"__proto__": {"version": 9}}}', "capabilities.__proto__.version"],
    [{ resource_limits: 1 }, "resource_limits must be an object"],
    [{ resource_limits: { max_memory_bytes: -1 } }, "resource_limits.max_memory_bytes must be a whole number"],
    [{ resource_limits: { max_memory_bytes: 1.5 } }, "whole number"],
    [{ resource_limits: { max_memory_bytes: 2 ** 33 } }, "from 0 to 4294967296"],
    [{ resource_limits: { max_memory_bytes: "64" } }, "whole number"],
    [{ resource_limits: { max_cpu_millis: 1e300 } }, "max_cpu_millis"],
    [{ resource_limits: { max_storage_bytes: -5 } }, "max_storage_bytes"],
    [{ migration_policy: { enabled: 1 } }, "migration_policy.enabled must be true or false"],
    [{ migration_policy: { enabled: true, max_price_per_second: -1 } }, "max_price_per_second"],
    ['{"migration_policy": {"max_price_per_second": 9223372036854775807}}', "max_price_per_second"],
    [{ migration_policy: { enabled: true, preferred_regions: "eu" } }, "preferred_regions must be a list"],
    [{ migration_policy: { enabled: true, preferred_regions: [1] } }, "preferred_regions must be a list"],
    [{ recovery_policy: "newest" }, 'recovery_policy must be "latest" or "strict"'],
    [{ recovery_policy: true }, "recovery_policy"],
  ])("%j", (value, message) => {
    expect(reasonFor(value)).toContain(message);
  });

  test("when it is not UTF-8, too large, or declares too much", () => {
    expect(() => parseManifest(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow("not JSON");
    expect(reasonFor(`{"a": "${"x".repeat(maxManifestBytes)}"}`)).toContain("at most");
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`c${index}`, { version: 1 }]));
    expect(reasonFor({ capabilities: many })).toContain("65 capabilities");
  });

  test("when a list without end stands where a word or a number belongs", () => {
    const depth = 30_000;
    const lists = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    expect(reasonFor(`{"recovery_policy": ${lists}}`)).toContain('"latest" or "strict", not a list');
    expect(reasonFor(`{"resource_limits": {"max_cpu_millis": ${lists}}}`)).toContain("not a list");
    expect(reasonFor(lists)).toBe("the manifest must be an object, not a list");
  });

  test("by a typed fault, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (bytes) => {
        try {
          parseManifest(bytes);
        } catch (error) {
          expect(isFault(error, "MANIFEST_INVALID")).toBe(true);
        }
      }),
    );
  });
});
