// Rewrites an admitted module so that it can be run safely; its digest stays that of the original bytes.
//
// - Memory and tables get a maximum, or a lower one, so that growing past it fails inside the agent.
// - The start function becomes an export that the host calls: run by the engine, it would run before the host can reach the
//   agent's memory, so that its host calls would fail.

import { maxTableElements } from "./admit.ts";
import { ModuleRefused } from "./reader.ts";
import type { Limits, ModuleShape } from "./shape.ts";

/** Under this name the start function is exported. */
export const startExport = "godwit:start";

interface Edit {
  readonly from: number;
  readonly to: number;
  readonly bytes: readonly number[];
}

const sectionIds = { exports: 7, start: 8 };

export function bound(bytes: Uint8Array, shape: ModuleShape, maxPages: number): Uint8Array {
  const edits = [
    ...shape.memories.flatMap((limits) => lowerMaximum(limits, maxPages)),
    ...shape.tables.flatMap((limits) => lowerMaximum(limits, maxTableElements)),
    ...exportStart(shape),
  ];
  if (edits.length === 0) return bytes;

  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  for (const { id, from, bodyFrom, to } of shape.sections) {
    if (id === sectionIds.start) continue;
    const inside = edits.filter((edit) => edit.from >= bodyFrom && edit.to <= to).sort((a, b) => a.from - b.from);
    if (inside.length === 0) {
      parts.push(bytes.subarray(from, to));
      continue;
    }
    const body = splice(bytes.subarray(bodyFrom, to), inside, bodyFrom);
    parts.push(Uint8Array.from([id, ...leb128(body.length)]), body);
  }
  return Buffer.concat(parts);
}

function lowerMaximum({ min, max, span }: Limits, cap: number): Edit[] {
  if (max !== undefined && max <= cap) return [];
  return [{ ...span, bytes: [0x01, ...leb128(min), ...leb128(cap)] }];
}

function exportStart({ startFunction, exports, exportCountSpan, sections }: ModuleShape): Edit[] {
  if (startFunction === undefined) return [];
  if (exports.some(({ name }) => name === startExport)) {
    throw new ModuleRefused(`exports ${startExport}, a name that is the host's`);
  }
  const section = sections.find(({ id }) => id === sectionIds.exports);
  // Every admitted module has exports: the functions of an agent.
  if (section === undefined || exportCountSpan === undefined) throw new ModuleRefused("has no exports");
  const name = [...new TextEncoder().encode(startExport)];
  return [
    { ...exportCountSpan, bytes: leb128(exports.length + 1) },
    { from: section.to, to: section.to, bytes: [...leb128(name.length), ...name, 0x00, ...leb128(startFunction)] },
  ];
}

function splice(body: Uint8Array, edits: readonly Edit[], offset: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const edit of edits) {
    parts.push(body.subarray(at, edit.from - offset), Uint8Array.from(edit.bytes));
    at = edit.to - offset;
  }
  parts.push(body.subarray(at));
  return Buffer.concat(parts);
}

function leb128(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left > 0 ? low | 0x80 : low);
  } while (left > 0);
  return bytes;
}
