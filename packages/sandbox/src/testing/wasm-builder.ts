// Assembles small modules for tests, byte by byte: no compiler stands between a test and what it wants to show.

import type { FunctionType, ValueType } from "../abi.ts";

export interface BuiltFunction extends FunctionType {
  readonly export?: string;
  /** Without the final `end`. */
  readonly code: readonly number[];
}

export interface BuiltImport extends FunctionType {
  readonly module: string;
  readonly name: string;
}

export interface BuiltModule {
  readonly imports?: readonly BuiltImport[] | undefined;
  readonly functions: readonly BuiltFunction[];
  readonly memories?: readonly (readonly number[])[];
  readonly tables?: readonly (readonly number[])[];
  /** Name of the exported memory; undefined exports none. */
  readonly memoryExport?: string | undefined;
  readonly start?: number;
  /** More sections, each after those of lower id. */
  readonly extra?: readonly { readonly id: number; readonly body: readonly number[] }[];
}

const codes: Record<ValueType, number> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

export function u32(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left > 0 ? low | 0x80 : low);
  } while (left > 0);
  return bytes;
}

export function i32(value: number): number[] {
  const bytes: number[] = [];
  let left = value | 0;
  for (;;) {
    const low = left & 0x7f;
    left >>= 7;
    if ((left === 0 && (low & 0x40) === 0) || (left === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export const op = {
  unreachable: [0x00],
  return: [0x0f],
  drop: [0x1a],
  end: [0x0b],
  forever: [0x03, 0x40, 0x0c, 0x00, 0x0b],
  const: (value: number): number[] => [0x41, ...i32(value)],
  const64: (value: number): number[] => [0x42, ...i32(value)],
  local: (index: number): number[] => [0x20, ...u32(index)],
  call: (index: number): number[] => [0x10, ...u32(index)],
  load64: (address: number): number[] => [0x41, ...i32(address), 0x29, 0x03, 0x00],
  /** Around what puts the value on the stack. */
  store64: (address: number, value: readonly number[]): number[] => [0x41, ...i32(address), ...value, 0x37, 0x03, 0x00],
  store32: (address: number, value: readonly number[]): number[] => [0x41, ...i32(address), ...value, 0x36, 0x02, 0x00],
  add64: [0x7c],
  and64: [0x83],
  equal64: [0x51],
  grow: [0x40, 0x00],
  if: (then: readonly number[]): number[] => [0x04, 0x40, ...then, 0x0b],
} as const;

export function buildModule(module: BuiltModule): Uint8Array {
  const imports = module.imports ?? [];
  const memories = module.memories ?? [[0x00, 1]];
  const memoryExport = "memoryExport" in module ? module.memoryExport : "memory";
  const types = [...imports, ...module.functions].map(({ params, results }) => [
    0x60,
    ...vector(params.map((type) => [codes[type]])),
    ...vector(results.map((type) => [codes[type]])),
  ]);
  const exports = module.functions.flatMap((fn, index) =>
    fn.export === undefined ? [] : [[...name(fn.export), 0x00, ...u32(imports.length + index)]],
  );
  if (memoryExport !== undefined) exports.push([...name(memoryExport), 0x02, 0]);
  const extra = (id: number): number[] =>
    (module.extra ?? []).filter((s) => s.id === id).flatMap((s) => section(id, s.body));

  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...(imports.length > 0
      ? section(
          2,
          vector(imports.map((item, index) => [...name(item.module), ...name(item.name), 0x00, ...u32(index)])),
        )
      : []),
    ...extra(2),
    ...section(3, vector(module.functions.map((_, index) => u32(imports.length + index)))),
    ...(module.tables ? section(4, vector(module.tables)) : []),
    ...(memories.length > 0 ? section(5, vector(memories)) : []),
    ...extra(13),
    ...section(7, vector(exports)),
    ...(module.start === undefined ? [] : section(8, u32(module.start))),
    ...section(
      10,
      vector(
        module.functions.map(({ code }) => {
          const body = [0, ...code, 0x0b];
          return [...u32(body.length), ...body];
        }),
      ),
    ),
    ...extra(0),
  ]);
}

function section(id: number, body: readonly number[]): number[] {
  return [id, ...u32(body.length), ...body];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...u32(items.length), ...items.flat()];
}

function name(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...u32(bytes.length), ...bytes];
}
