// The codec of states, in AssemblyScript, driven call by call; what it writes is compared with what the bytes have to be.

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeReceipt as encodeOfHost } from "@godwit/lineage";
import fc from "fast-check";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { compile } from "../src/testing/compile.ts";
import { encodeReceipt } from "../src/testing/receipts.ts";
import { TestAgent } from "../src/testing/test-agent.ts";
import { webAssembly } from "../src/testing/wasm.ts";
import { compileFixture } from "./fixture.ts";

type Call = (...numbers: readonly (number | bigint)[]) => number | bigint;

let exports: Readonly<Record<string, Call>>;
const text = new TextDecoder();
const utf8 = new TextEncoder();

beforeAll(async () => {
  const capabilities = Object.fromEntries(
    ["clock", "rand", "log", "wallet", "pricing"].map((name) => [name, { version: 1 }]),
  );
  const module = await compileFixture("puppet", "--use", "PUPPET_VERSION=2");
  const agent = await TestAgent.load(module, { manifest: { capabilities } });
  exports = agent.exports as unknown as Readonly<Record<string, Call>>;
});

function call(name: string, ...numbers: readonly (number | bigint)[]): number | bigint {
  const one = exports[name];
  if (one === undefined) throw new Error(`there is no ${name}`);
  return one(...numbers);
}

function scratch(): Uint8Array {
  const { buffer } = exports["memory"] as unknown as { buffer: ArrayBuffer };
  return new Uint8Array(buffer, Number(call("scratchAt")), 65_536);
}

function put(name: string, bytes: Uint8Array): void {
  scratch().set(bytes);
  call(name, bytes.length);
}

function written(): Uint8Array {
  const length = Number(call("written"));
  return scratch().slice(0, length);
}

function beginWith(bytes: Uint8Array): void {
  put("begin", bytes);
}

function answer(name: string, ...numbers: readonly (number | bigint)[]): Uint8Array {
  const length = Number(call(name, ...numbers));
  return scratch().slice(0, length);
}

function inScratch(name: string, bytes: Uint8Array): Uint8Array {
  scratch().set(bytes);
  return answer(name, bytes.length);
}

describe("Encoder and Decoder", () => {
  test("every type comes back as it was written, and nothing is left", () => {
    fc.assert(
      fc.property(
        fc.record({
          u8: fc.integer({ min: 0, max: 255 }),
          bool: fc.boolean(),
          u32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
          i32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
          u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
          f64: fc.double(),
          bytes: fc.uint8Array({ maxLength: 600 }),
          fixed: fc.uint8Array({ maxLength: 600 }),
          string: fc.string({ unit: "grapheme" }),
        }),
        (value) => {
          call("clear");
          call("putU8", value.u8);
          call("putBool", value.bool ? 1 : 0);
          call("putU32", value.u32);
          call("putI32", value.i32);
          call("putU64", value.u64);
          call("putI64", value.i64);
          call("putF64", value.f64);
          put("putBytes", value.bytes);
          put("putFixed", value.fixed);
          put("putString", utf8.encode(value.string));

          beginWith(written());
          expect(call("getU8")).toBe(value.u8);
          expect(call("getBool")).toBe(value.bool ? 1 : 0);
          expect(Number(call("getU32")) >>> 0).toBe(value.u32);
          expect(call("getI32")).toBe(value.i32);
          expect(BigInt.asUintN(64, BigInt(call("getU64")))).toBe(value.u64);
          expect(call("getI64")).toBe(value.i64);
          expect(call("getF64")).toBe(value.f64);
          expect(answer("getBytes")).toEqual(value.bytes);
          expect(answer("getFixed", value.fixed.length)).toEqual(value.fixed);
          expect(text.decode(answer("getString"))).toBe(value.string);
          expect([call("ok"), call("remaining")]).toEqual([1, 0]);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("the bytes are little endian, and bytes and texts have their length before them", () => {
    call("clear");
    call("putU32", 1);
    call("putU64", 2n);
    call("putI64", -1n);
    call("putBool", 1);
    put("putString", utf8.encode("é"));
    const bytes = [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 0, 0, 0, 195, 169];
    expect([...written()]).toEqual(bytes);
  });

  test("a short read sticks: what follows is zero and empty, though there would be bytes for it", () => {
    beginWith(Uint8Array.of(1, 2, 3, 4, 5));
    expect(call("getU64")).toBe(0n);
    expect(call("ok")).toBe(0);
    expect(call("getU8")).toBe(0);
    expect(call("getU32")).toBe(0);
    expect([...answer("getBytes")]).toEqual([]);
    expect(text.decode(answer("problem"))).toBe("at byte 0 it wants 8 more, of 5");
  });

  test("a length that goes beyond the end is refused, without room being made for it", () => {
    for (const get of ["getBytes", "getString"]) {
      beginWith(Uint8Array.of(255, 255, 255, 255, 1));
      expect([...answer(get)]).toEqual([]);
      expect(call("ok")).toBe(0);
    }
  });

  test("empty bytes and texts are no error; half a length is", () => {
    beginWith(new Uint8Array(8));
    expect([...answer("getBytes"), ...answer("getString")]).toEqual([]);
    expect([call("ok"), call("remaining")]).toEqual([1, 0]);
    expect([...answer("getBytes")]).toEqual([]);
    expect(call("ok")).toBe(0);
  });

  test("a bool is 0 or 1", () => {
    beginWith(Uint8Array.of(2));
    expect(call("getBool")).toBe(0);
    expect(text.decode(answer("problem"))).toBe("at byte 0 is 2, which is no bool");
  });
});

describe("what else is computed", () => {
  test("SHA-256 is that of everybody else, around the ends of blocks too", () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1_000]) {
      const message = Uint8Array.from({ length }, (_, at) => (at * 7) & 255);
      const expected = createHash("sha256").update(message).digest("hex");
      expect(Buffer.from(inScratch("hash", message)).toString("hex"), `${length} bytes`).toBe(expected);
    }
  });

  test("money and times read as people read them", () => {
    const amounts = [0n, 1_500_000n, -1n, -(2n ** 63n)];
    expect(amounts.map((amount) => text.decode(answer("money", amount)))).toEqual([
      "0.000000",
      "1.500000",
      "-0.000001",
      "-9223372036854.775808",
    ]);
    const times = [1_250_000_000n, -100_000_000n, -1_250_000_000n];
    expect(times.map((ns) => text.decode(answer("seconds", ns)))).toEqual(["1.2 s", "-0.1 s", "-1.2 s"]);
  });

  test("a receipt of the test host is one of a host, byte for byte", () => {
    const [hostId, fundingId] = ["12D3KooW", "00ff".repeat(8)];
    const charge = {
      hostId,
      firstTick: 1n,
      lastTick: 300n,
      elapsedNs: 2n ** 63n,
      pricePerSecond: 5n,
      cost: 7n,
      budgetAfter: 0n,
    };
    const funding = { ...charge, elapsedNs: 0n, cost: 0n, funded: 1_000_000n, fundingId };
    expect(encodeReceipt(charge)).toEqual(encodeOfHost(charge));
    const bytes = Uint8Array.from(Buffer.from(fundingId, "hex"));
    expect(encodeReceipt({ ...funding, fundingId: bytes })).toEqual(encodeOfHost(funding));
  });

  test("a receipt is read with what later versions may add, and refused when it is cut", () => {
    const receipt = encodeReceipt({
      hostId: "host",
      firstTick: 1n,
      lastTick: 2n ** 64n - 1n,
      elapsedNs: 3n,
      pricePerSecond: 4n,
      cost: 5n,
      budgetAfter: 6n,
      funded: 7n,
      fundingId: Uint8Array.of(8, 9),
    });
    const read = "host;1;18446744073709551615;3;4;5;6;7;8,9;funding";
    expect(text.decode(inScratch("receipt", receipt))).toBe(read);
    const later = [0x50, 1, 0x5a, 2, 0, 0, 0x61, ...new Uint8Array(8), 0x6d, ...new Uint8Array(4)];
    expect(text.decode(inScratch("receipt", Uint8Array.from([...receipt, ...later])))).toBe(read);
    const cut = [
      receipt.subarray(0, -1),
      Uint8Array.of(0x10),
      Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f),
      Uint8Array.of(3),
    ];
    for (const bytes of cut) {
      scratch().set(bytes);
      expect(call("receipt", bytes.length)).toBe(-1);
    }
  });
});

describe("compile", () => {
  test("a file without an agent needs nothing of a host, also with more options", async () => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-compile-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const source =
      "export function isFew(count: i32): bool { assert(count >= 0, 'less than nothing'); return count < LIMIT; }";
    writeFileSync(join(directory, "rules.ts"), source);
    const module = await compile("rules.ts", { directory, args: ["--use", "LIMIT=3"] });
    const { exports: rules } = new webAssembly.Instance(await webAssembly.compile(module), {});
    const isFew = rules["isFew"] as Call;
    expect([isFew(2), isFew(3)]).toEqual([1, 0]);
    expect(() => isFew(-1)).toThrow();
  });

  test("what the compiler says is the error", async () => {
    await expect(compile("nowhere.ts")).rejects.toThrow(/nowhere\.ts: .*not found/s);
  });
});
