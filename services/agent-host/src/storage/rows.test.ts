import { isFault } from "@godwit/common/fault";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Cell, CellReader, pack, sealOf, unpack } from "./rows.ts";

const lists = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 });

describe("packed byte strings", () => {
  test("come back as they were", () => {
    fc.assert(
      fc.property(lists, (list) => {
        expect(unpack(pack(list))).toEqual(list);
      }),
    );
  });

  test("any bytes give a list that packs to them, or nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const list = unpack(bytes);
        if (list !== undefined) expect(pack(list)).toEqual(bytes);
      }),
    );
  });

  test("a length beyond the end is refused without being allocated", () => {
    expect(unpack(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1))).toBeUndefined();
    expect(unpack(Uint8Array.of(1, 0))).toBeUndefined();
  });
});

describe("seal of a row", () => {
  const cell: fc.Arbitrary<Cell> = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.bigInt({ min: -10n, max: 2n ** 63n }),
    fc.uint8Array({ maxLength: 8 }),
    fc.constant(null),
  );
  const rows = fc.array(cell, { maxLength: 5 });

  test("is the same for equal rows and another one for any other", () => {
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        const same = JSON.stringify(a.map(plain)) === JSON.stringify(b.map(plain));
        expect(Buffer.compare(sealOf(a), sealOf(b)) === 0).toBe(same);
      }),
    );
  });

  test.each([
    [
      ["ab", "c"],
      ["a", "bc"],
    ],
    [[1n], ["1"]],
    [[null], [""]],
    [[new Uint8Array(0)], [""]],
    [["a", null], ["a"]],
  ] satisfies [Cell[], Cell[]][])("tells %o from %o", (a, b) => {
    expect(sealOf(a)).not.toEqual(sealOf(b));
  });
});

test("a cell of another kind than the column's is damage", () => {
  const cells = new CellReader("/data/host.db");
  for (const read of [
    () => cells.text({ name: 1n }, "name"),
    () => cells.whole({ tick: "1" }, "tick"),
    () => cells.bytes({ payload: null }, "payload"),
    () => cells.bytes({}, "payload"),
  ]) {
    expect(read).toThrow(expect.toSatisfy((error) => isFault(error, "DATA_CORRUPT")));
  }
});

function plain(cell: Cell): readonly string[] {
  if (cell === null) return ["null"];
  return cell instanceof Uint8Array ? ["bytes", Buffer.from(cell).toString("hex")] : [typeof cell, cell.toString()];
}
