// Reads of a module what the engine's own interface does not show: the types of imports and exports, and the limits of memories and tables.

import type { FunctionType, ValueType } from "../abi.ts";
import { ModuleReader, ModuleRefused } from "./reader.ts";

export interface Limits {
  readonly min: number;
  readonly max: number | undefined;
  /** Where the limits stand in the file. */
  readonly span: { readonly from: number; readonly to: number };
}

export interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  readonly type: FunctionType;
}

export type ExportKind = "function" | "table" | "memory" | "global";

export interface Export {
  readonly name: string;
  readonly kind: ExportKind;
  readonly index: number;
}

export interface Section {
  readonly id: number;
  /** With its id and length. */
  readonly from: number;
  readonly bodyFrom: number;
  readonly to: number;
}

export interface ModuleShape {
  readonly sections: readonly Section[];
  readonly types: readonly FunctionType[];
  readonly imports: readonly ImportedFunction[];
  /** Types of the functions that the module itself defines; their indices follow the imported ones. */
  readonly functions: readonly FunctionType[];
  readonly tables: readonly Limits[];
  readonly memories: readonly Limits[];
  readonly exports: readonly Export[];
  /** Where the number of exports stands. */
  readonly exportCountSpan: { readonly from: number; readonly to: number } | undefined;
  readonly startFunction: number | undefined;
}

const valueTypes: ReadonlyMap<number, ValueType> = new Map([
  [0x7f, "i32"],
  [0x7e, "i64"],
  [0x7d, "f32"],
  [0x7c, "f64"],
  [0x7b, "v128"],
  [0x70, "funcref"],
  [0x6f, "externref"],
]);
const exportKinds: readonly ExportKind[] = ["function", "table", "memory", "global"];
const importKinds = ["function", "table", "memory", "global", "tag"];

/** More than compilers write, by far. A section takes 2 bytes of a module, and a hundred times as much once it is read. */
const maxSections = 1_000;
/** Of one kind, as types, functions or exports: each takes 1 to 4 bytes of a module, and up to a hundred times as much once it is read. */
const maxItems = 50_000;
/** Parameters, and results, of one function; the engine's own limit. */
const maxValues = 1_000;

/** @throws ModuleRefused */
export function readShape(bytes: Uint8Array): ModuleShape {
  const magic = [0x00, 0x61, 0x73, 0x6d];
  if (bytes.length < 8 || magic.some((byte, index) => bytes[index] !== byte)) {
    throw new ModuleRefused("is not WebAssembly: it does not begin with the bytes 00 61 73 6d");
  }
  if (bytes[4] !== 1 || bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) {
    throw new ModuleRefused("is not a core module of version 1 (components are not offered)");
  }

  const sections: Section[] = [];
  const file = new ModuleReader(bytes, { from: 8, to: bytes.length });
  while (!file.done) {
    const from = file.at;
    const id = file.byte();
    const body = file.span(file.u32());
    if (id === 13) throw new ModuleRefused("throws exceptions of its own (tag section), which is not offered");
    if (id > 12) throw new ModuleRefused(`has a section of unknown kind ${id}`);
    if (sections.length === maxSections) {
      throw new ModuleRefused(`has more than ${maxSections} sections, which are not admitted`);
    }
    sections.push({ id, from, bodyFrom: body.from, to: body.to });
  }

  const types = readVector(bytes, sections, 1, readFunctionType);
  const typeOf = (index: number): FunctionType => {
    const type = types[index];
    if (type === undefined) throw new ModuleRefused(`names type ${index}, but has ${types.length}`);
    return type;
  };
  const exportSection = sections.find(({ id }) => id === 7);
  const startSection = sections.find(({ id }) => id === 8);

  return {
    sections,
    types,
    imports: readVector(bytes, sections, 2, (reader) => readImport(reader, typeOf)),
    functions: readVector(bytes, sections, 3, (reader) => typeOf(reader.u32())),
    tables: readVector(bytes, sections, 4, readTable),
    memories: readVector(bytes, sections, 5, (reader) => readLimits(reader, "memory")),
    exports: readVector(bytes, sections, 7, readExport),
    exportCountSpan: exportSection && countSpan(bytes, exportSection),
    startFunction: startSection && new ModuleReader(bytes, { from: startSection.bodyFrom, to: startSection.to }).u32(),
  };
}

/** Type of a function by its index, imported ones first. */
export function functionType(shape: ModuleShape, index: number): FunctionType | undefined {
  return index < shape.imports.length ? shape.imports[index]?.type : shape.functions[index - shape.imports.length];
}

function readVector<T>(
  bytes: Uint8Array,
  sections: readonly Section[],
  id: number,
  readItem: (reader: ModuleReader) => T,
): T[] {
  const found = sections.filter((section) => section.id === id);
  const section = found[0];
  if (section === undefined) return [];
  if (found.length > 1) throw new ModuleRefused(`has section ${id} twice`);

  const reader = new ModuleReader(bytes, { from: section.bodyFrom, to: section.to });
  const count = reader.u32();
  if (count > maxItems)
    throw new ModuleRefused(`has ${count} entries in section ${id}; at most ${maxItems} are admitted`);
  const items: T[] = [];
  // The count is the module's word: every item takes at least a byte, so a false one ends at the section's end.
  for (let left = count; left > 0; left--) items.push(readItem(reader));
  if (!reader.done) throw new ModuleRefused(`has bytes left over in section ${id}, at byte ${reader.at}`);
  return items;
}

function readFunctionType(reader: ModuleReader): FunctionType {
  if (reader.byte() !== 0x60) {
    throw new ModuleRefused("defines a type that is no function (garbage-collected types are not offered)");
  }
  return { params: readValueTypes(reader), results: readValueTypes(reader) };
}

function readValueTypes(reader: ModuleReader): ValueType[] {
  const count = reader.u32();
  if (count > maxValues) {
    throw new ModuleRefused(`has a function of ${count} parameters or results; at most ${maxValues} are admitted`);
  }
  const types: ValueType[] = [];
  for (let left = count; left > 0; left--) {
    const code = reader.byte();
    const type = valueTypes.get(code);
    if (type === undefined) throw new ModuleRefused(`uses a value type that is not offered (0x${code.toString(16)})`);
    types.push(type);
  }
  return types;
}

function readImport(reader: ModuleReader, typeOf: (index: number) => FunctionType): ImportedFunction {
  const module = reader.name();
  const name = reader.name();
  const kind = reader.byte();
  if (kind !== 0) {
    throw new ModuleRefused(
      `imports ${module}.${name}, which is a ${importKinds[kind] ?? "thing of unknown kind"}; only functions can be imported`,
    );
  }
  return { module, name, type: typeOf(reader.u32()) };
}

function readTable(reader: ModuleReader): Limits {
  const elements = reader.byte();
  if (elements === 0x40) throw new ModuleRefused("has a table with an initial value, which is not offered");
  if (elements !== 0x70 && elements !== 0x6f) throw new ModuleRefused("has a table of a kind that is not offered");
  return readLimits(reader, "table");
}

function readLimits(reader: ModuleReader, what: "memory" | "table"): Limits {
  const from = reader.at;
  const flags = reader.byte();
  if (flags & 0x04) throw new ModuleRefused(`has a 64-bit ${what}; only 32-bit ones are offered`);
  if (flags & 0x02) throw new ModuleRefused(`has a shared ${what}, which is not offered`);
  if (flags > 0x01)
    throw new ModuleRefused(`has a ${what} with options that are not offered (0x${flags.toString(16)})`);
  const min = reader.u32();
  const max = flags === 0x01 ? reader.u32() : undefined;
  return { min, max, span: { from, to: reader.at } };
}

function readExport(reader: ModuleReader): Export {
  const name = reader.name();
  const code = reader.byte();
  const kind = exportKinds[code];
  if (kind === undefined) throw new ModuleRefused(`exports ${name}, a thing of unknown kind ${code}`);
  return { name, kind, index: reader.u32() };
}

function countSpan(bytes: Uint8Array, section: Section): { readonly from: number; readonly to: number } {
  const reader = new ModuleReader(bytes, { from: section.bodyFrom, to: section.to });
  reader.u32();
  return { from: section.bodyFrom, to: reader.at };
}
