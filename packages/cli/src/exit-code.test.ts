import { Fault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { EXIT, failureOf } from "./exit-code.ts";

describe("what a failure means", () => {
  test.each([
    [{ code: "CONFIG_INVALID", problems: ["a", "b"] }, EXIT.usage],
    [{ code: "AGENT_UNKNOWN", agentId: "a" }, EXIT.notFound],
    [{ code: "REGISTRY_UNAVAILABLE", reason: "a" }, EXIT.unavailable],
    [{ code: "QUARANTINE", reason: "a" }, EXIT.unavailable],
    [{ code: "OWNER_ALIVE", agentId: "a", owner: "b" }, EXIT.failed],
  ] as const)("%j", (detail, exitCode) => {
    expect(failureOf(new Fault(detail))).toMatchObject({ code: detail.code, exitCode });
  });

  test("the message is one line, whatever the cause", () => {
    expect(failureOf(new Fault({ code: "CONFIG_INVALID", problems: ["a", "b"] })).message).toBe("a; b");
    expect(failureOf(new Fault({ code: "NOT_READY", reason: "a\n  b" })).message).not.toContain("\n");
    expect(failureOf(new TypeError("x\ny"))).toMatchObject({ code: "INTERNAL", exitCode: EXIT.failed });
    expect(failureOf("text").message).toContain("text");
  });
});
