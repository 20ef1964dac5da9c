import { describe, expect, test } from "vitest";
import { checkRules, defaultSandboxRules, type SandboxRules } from "./rules.ts";

describe("the sandbox's rules", () => {
  test("are right by default", () => {
    expect(checkRules(defaultSandboxRules)).toBe(defaultSandboxRules);
    expect(defaultSandboxRules).toMatchObject({ tickTimeoutMs: 100, maxMemoryBytes: 67_108_864 });
  });

  test.each(Object.keys(defaultSandboxRules) as (keyof SandboxRules)[])("%s is a whole number in its range", (name) => {
    for (const value of [-1, 1.5, Number.NaN, 2 ** 53]) {
      expect(() => checkRules({ ...defaultSandboxRules, [name]: value })).toThrow(name);
    }
  });
});
