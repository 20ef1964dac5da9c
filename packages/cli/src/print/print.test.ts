import { describe, expect, test } from "vitest";
import { formatMs, formatPrice, formatTime, shortIds } from "./format.ts";
import { toJson } from "./json.ts";
import { table } from "./table.ts";

describe("table", () => {
  const columns = [
    { title: "NAME", value: ({ name }: { name: string }) => name },
    { title: "N", value: ({ name }: { name: string }) => `${name.length}`, align: "right" },
  ] as const;

  test("columns are as wide as what is in them, numbers end below each other, no line ends in blanks", () => {
    expect(table(columns, [{ name: "a" }, { name: "twelve chars" }])).toEqual([
      "NAME           N",
      "a              1",
      "twelve chars  12",
    ]);
    expect(table([columns[0]], [{ name: "" }])).toEqual(["NAME", ""]);
  });

  test("a line that is too long is cut, with a mark", () => {
    expect(table(columns, [{ name: "twelve chars" }], 10)).toEqual(["NAME     …", "twelve ch…"]);
  });
});

describe("format", () => {
  test("ids are as short as tells them apart, 8 characters or more", () => {
    const short = shortIds(["aaaaaaaabbbbb1", "aaaaaaaabbbbb2", "cccccccccccccc"]);
    expect(short("aaaaaaaabbbbb1")).toBe("aaaaaaaabbbbb1");
    expect(shortIds(["aaaaaaaabbbb", "bbbbbbbbbbbb"])("aaaaaaaabbbb")).toBe("aaaaaaaa");
    expect(shortIds([])("abc")).toBe("abc");
  });

  test.each([
    [0, "0.00 ms"],
    [4.256, "4.26 ms"],
    [1_500, "1.50 s"],
  ])("%d ms is %s", (ms, text) => {
    expect(formatMs(ms)).toBe(text);
  });

  test("what is not known is a dash", () => {
    expect(formatPrice(undefined)).toBe("-");
    expect(formatTime(0n)).toBe("-");
    expect(formatTime(1_700_000_000_000_000_000n)).toBe("2023-11-14T22:13:20Z");
  });
});

test("JSON: bigints are decimal strings, bytes are hex, and a Buffer is bytes", () => {
  const value = { a: 2n ** 63n, b: Uint8Array.of(1, 255), c: undefined, d: [1n] };
  expect(toJson(value)).toBe('{"a":"9223372036854775808","b":"01ff","d":["1"]}');
  expect(toJson({ b: Buffer.from([16]) })).toBe('{"b":"10"}');
});
