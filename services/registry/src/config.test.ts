import { readCommandLine } from "@godwit/common/config";
import { describe, expect, test } from "vitest";
import { longestLeaseMs, registryOptions, registryRelations } from "./config.ts";

const commandLine = { name: "registry", summary: "", options: registryOptions, relations: registryRelations };
const read = (...argv: readonly string[]) => {
  const result = readCommandLine(commandLine, { argv, env: {} });
  if (result.kind !== "run") throw new Error("asked for help");
  return result.options;
};

describe("configuration", () => {
  test("§11: the defaults", () => {
    expect(read()).toMatchObject({
      leaseDurationMs: 10_000,
      leaseGraceMs: 2_000,
      renewEveryMs: 3_000,
      lookEveryMs: 500,
      offersPerSecond: 200,
      maxFailures: 3,
      forgetFailuresMs: 300_000,
      redis: undefined,
    });
  });

  test("SL-5: at least two renewals fit into one duration", () => {
    expect(() => read("--lease-duration", "6s", "--renew-every", "3s")).toThrow("--renew-every");
    expect(read("--lease-duration", "6s", "--renew-every", "2900ms").renewEveryMs).toBe(2_900);
  });

  test("GA-6: a quarantine lasts at least duration + grace, and exactly that when nothing is said", () => {
    expect(read().quarantineMs).toBeUndefined();
    expect(longestLeaseMs(read())).toBe(12_000);
    expect(read("--quarantine", "12s").quarantineMs).toBe(12_000);
    expect(() => read("--quarantine", "11999ms")).toThrow("--quarantine must be at least");
    expect(() => read("--quarantine", "12s", "--lease-grace", "3s")).toThrow("--quarantine must be at least");
  });

  test("GA-6: --restored is an operator's word on the embedded store alone", () => {
    expect(read().restored).toBe(false);
    expect(read("--restored").restored).toBe(true);
    expect(() => read("--restored", "--redis", "redis://127.0.0.1:6379")).toThrow("--restored is for the embedded");
  });

  test("--redis selects Redis, and does not go with --store embedded", () => {
    expect(read("--redis", "redis://127.0.0.1:6379").redis).toBe("redis://127.0.0.1:6379");
    expect(() => read("--store", "redis")).toThrow("--redis");
    expect(() => read("--store", "embedded", "--redis", "redis://h")).toThrow("--redis");
    expect(() => read("--redis", "localhost:6379")).toThrow("Redis URL");
  });

  test("wrong numbers are refused together", () => {
    expect(() => read("--lease-grace", "-1s", "--max-failures", "-1", "--offers-per-second", "0")).toThrow(
      /lease-grace[\s\S]*offers-per-second[\s\S]*max-failures/,
    );
  });
});
