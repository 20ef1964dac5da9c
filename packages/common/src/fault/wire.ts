// A fault's data as text, for error details on the wire. Decoding is total: whatever a peer sends, the answer is a
// detail that has exactly the declared types, or undefined.

import { FAULTS, type FaultDetail } from "./codes.ts";
import type { FieldKind, Fields } from "./row.ts";

/** Longer numbers are nobody's revision or price. */
const MAX_DIGITS = 40;

export function encodeFault(detail: FaultDetail): Record<string, string> {
  const data: Readonly<Record<string, unknown>> = { ...detail };
  const encoded: Record<string, string> = {};
  for (const [name, kind] of Object.entries(FAULTS[detail.code].fields)) {
    encoded[name] = kind === "strings" ? JSON.stringify(data[name]) : String(data[name]);
  }
  return encoded;
}

/** Undefined for a code that we do not know, and for data that lacks a field or has one of another type. */
export function decodeFault(code: string, encoded: Readonly<Record<string, string>>): FaultDetail | undefined {
  if (!Object.hasOwn(FAULTS, code)) return undefined;
  const { fields }: { readonly fields: Fields } = FAULTS[code as FaultDetail["code"]];

  const data: Record<string, unknown> = { code };
  for (const [name, kind] of Object.entries(fields)) {
    const text: unknown = Object.hasOwn(encoded, name) ? encoded[name] : undefined;
    if (typeof text !== "string") return undefined;
    const value = DECODE[kind](text);
    if (value === undefined) return undefined;
    data[name] = value;
  }
  return data as FaultDetail;
}

const DECODE: Readonly<Record<FieldKind, (text: string) => unknown>> = {
  string: (text) => text,
  bigint: (text) => (/^-?\d+$/.test(text) && text.length <= MAX_DIGITS ? BigInt(text) : undefined),
  number: (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    return Number.isFinite(value) ? value : undefined;
  },
  strings: (text) => {
    try {
      const list: unknown = JSON.parse(text);
      return Array.isArray(list) && list.every((entry) => typeof entry === "string") ? list : undefined;
    } catch {
      return undefined;
    }
  },
};
