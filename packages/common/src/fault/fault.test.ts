import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FAULTS } from "./codes.ts";
import {
  decodeFault,
  encodeFault,
  FAULT_CODES,
  Fault,
  type FaultCode,
  type FaultDetail,
  faultMessage,
  isFault,
} from "./index.ts";

const arbitraryOf = {
  string: fc.string(),
  bigint: fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
  number: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
  strings: fc.array(fc.string()),
};

function detailOf(code: FaultCode): fc.Arbitrary<FaultDetail> {
  const data = Object.entries(FAULTS[code].fields).map(([name, kind]) => [
    name,
    arbitraryOf[kind as keyof typeof arbitraryOf],
  ]);
  const record: fc.Arbitrary<unknown> = fc.record({ code: fc.constant(code), ...Object.fromEntries(data) });
  return record.map((detail) => detail as FaultDetail);
}

const details = fc.constantFrom(...FAULT_CODES).chain(detailOf);

describe("fault", () => {
  test("every code has a message, and a detail survives the wire", () => {
    fc.assert(
      fc.property(details, (detail) => {
        expect(faultMessage(detail).length).toBeGreaterThan(1);
        expect(decodeFault(detail.code, encodeFault(detail))).toEqual(detail);
      }),
      { numRuns: 1_000 },
    );
  });

  test("decoding is total: whatever a peer sends is a complete detail or undefined", () => {
    const texts = fc.oneof(fc.string(), fc.constantFrom("1", "-7", "[]", '["a"]', "[1]", "1e999", "", "NaN", "0x1"));
    const fields = fc.constantFrom("agentId", "offered", "current", "missing", "limit", "reason", "__proto__");
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom<string>(...FAULT_CODES), fc.string(), fc.constantFrom("toString", "__proto__")),
        fc.dictionary(fields, texts),
        (code, encoded) => {
          const detail = decodeFault(code, encoded);
          if (detail !== undefined) expect(decodeFault(detail.code, encodeFault(detail))).toEqual(detail);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ["a code that nobody declared", "WHATEVER", {}],
    ["a name that every object has", "constructor", {}],
    ["a missing field", "STALE_REVISION", { offered: "1" }],
    ["a field of another type", "STALE_REVISION", { offered: "1", current: "two" }],
    ["a number without an end", "STALE_REVISION", { offered: "1", current: "9".repeat(10_000) }],
    ["a list of something else", "CAPABILITY_MISSING", { missing: "[1]" }],
    ["a list that is none", "CAPABILITY_MISSING", { missing: "{" }],
  ])("decoding refuses %s", (_, code, encoded: Record<string, string>) => {
    expect(decodeFault(code, encoded)).toBeUndefined();
  });

  test("a field that we do not know is ignored, so that a newer process may add one", () => {
    expect(decodeFault("AGENT_UNKNOWN", { agentId: "a", since: "yesterday" })).toEqual({
      code: "AGENT_UNKNOWN",
      agentId: "a",
    });
  });

  test("isFault narrows to the codes that were asked for", () => {
    const error: unknown = new Fault({ code: "STALE_REVISION", offered: 3n, current: 4n });
    expect(isFault(error)).toBe(true);
    expect(isFault(error, "OWNER_ALIVE")).toBe(false);
    if (!isFault(error, "STALE_REVISION", "OWNER_ALIVE")) throw error;
    expect(error.code === "STALE_REVISION" && error.detail.code === "STALE_REVISION").toBe(true);
    expect(isFault(new Error("STALE_REVISION"), "STALE_REVISION")).toBe(false);
  });

  test("a fault keeps its cause and says what is wrong", () => {
    const cause = new Error("disk");
    const fault = new Fault({ code: "HOST_DRAINING", hostId: "h1" }, { cause });
    expect(fault.cause).toBe(cause);
    expect(fault.message).toContain("h1");
  });
});
