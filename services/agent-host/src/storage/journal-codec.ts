// Journal entries as the database keeps them: JSON, so that an operator can read it, with a version in front.
// Whole numbers are decimal texts, bytes base64. Decoding is total: any text gives an entry that is complete, or undefined.

import type { CheckpointRef, SignedBytes, Term } from "@godwit/common/lease";
import { isDigest } from "@godwit/lineage";
import type { JournalEntry, Phase } from "./journal.ts";

const VERSION = 1;

export function encodeJournal(entry: JournalEntry): string {
  const fields: Readonly<Record<string, Field<unknown>>> = shapeOf(entry.phase);
  const encoded: Record<string, unknown> = { v: VERSION, phase: entry.phase };
  const values: Readonly<Record<string, unknown>> = { ...entry };
  for (const [name, field] of Object.entries(fields)) {
    const value = values[name];
    if (value !== undefined) encoded[name] = field.encode(value);
  }
  return JSON.stringify(encoded);
}

/** `undefined` for what this version would never have written. */
export function decodeJournal(text: string): JournalEntry | undefined {
  const json = parse(text);
  if (!isObject(json) || json["v"] !== VERSION || !isPhase(json["phase"])) return undefined;
  const { v: _, phase, ...rest } = json;
  const fields: Readonly<Record<string, Field<unknown>>> = shapeOf(phase);
  if (Object.keys(rest).some((name) => !Object.hasOwn(fields, name))) return undefined;

  const entry: Record<string, unknown> = { phase };
  for (const [name, field] of Object.entries(fields)) {
    if (!Object.hasOwn(rest, name)) {
      if (field.optional) continue;
      return undefined;
    }
    const value = field.decode(rest[name]);
    if (value === undefined) return undefined;
    entry[name] = value;
  }
  return entry as JournalEntry; // complete: SHAPES is checked against it
}

interface Field<T> {
  readonly optional: boolean;
  encode(value: T): unknown;
  decode(json: unknown): T | undefined;
}

/** A field for every name of the entry, optional where the entry's is. */
type Shape<E> = { readonly [K in Exclude<keyof E, "phase">]-?: Field<Exclude<E[K], undefined>> };
type Shapes = { readonly [P in Phase]: Shape<Extract<JournalEntry, { phase: P }>> };

const text: Field<string> = {
  optional: false,
  encode: (value) => value,
  decode: (json) => (typeof json === "string" ? json : undefined),
};

const digest: Field<string> = {
  ...text,
  decode: (json) => (typeof json === "string" && isDigest(json) ? json : undefined),
};

const whole: Field<bigint> = {
  optional: false,
  encode: (value) => value.toString(),
  decode: (json) => (typeof json === "string" && /^(0|[1-9]\d{0,19})$/.test(json) ? BigInt(json) : undefined),
};

const signed: Field<SignedBytes> = {
  optional: false,
  encode: ({ payload, signature }) => [toBase64(payload), toBase64(signature)],
  decode: (json) => {
    if (!Array.isArray(json) || json.length !== 2) return undefined;
    const [payload, signature] = json.map(fromBase64);
    return payload && signature && { payload, signature };
  },
};

const term: Field<Term> = {
  optional: false,
  encode: ({ era, major }) => [era.toString(), major.toString()],
  decode: (json) => {
    if (!Array.isArray(json) || json.length !== 2) return undefined;
    const [era, major] = json.map((part) => whole.decode(part));
    return era === undefined || major === undefined ? undefined : { era, major };
  },
};

const ref: Field<CheckpointRef> = {
  optional: false,
  encode: (value) => [value.era.toString(), value.major.toString(), value.tick.toString(), value.digest],
  decode: (json) => {
    if (!Array.isArray(json) || json.length !== 4) return undefined;
    const [era, major, tick] = json.slice(0, 3).map((part) => whole.decode(part));
    const name = digest.decode(json[3]);
    if (era === undefined || major === undefined || tick === undefined || name === undefined) return undefined;
    return { era, major, tick, digest: name };
  },
};

const giveUpCommands = ["release", "declare_recovery", "terminate"] as const;
const command: Field<(typeof giveUpCommands)[number]> = {
  optional: false,
  encode: (value) => value,
  decode: (json) => giveUpCommands.find((known) => known === json),
};

function optional<T>(field: Field<T>): Field<T> {
  return { ...field, optional: true };
}

const ownTerm = { era: whole, major: whole } as const;

const SHAPES: Shapes = {
  acquiring: { commandId: text, bootId: text },
  owner: { ...ownTerm, bootId: text, grant: signed, unconfirmedBase: optional(ref) },
  begun: { ...ownTerm, bootId: text, grant: signed, handoffId: text, targetHostId: text, commandId: text },
  relinquished: {
    ...ownTerm,
    bootId: text,
    handoffId: text,
    targetHostId: text,
    token: signed,
    checkpointDigest: digest,
    tick: whole,
  },
  claiming: {
    ...ownTerm,
    bootId: text,
    commandId: text,
    handoffId: text,
    sourceHostId: text,
    token: signed,
    checkpointDigest: digest,
  },
  recovering: { bootId: text, commandId: text, base: ref, on: optional(term), relinquished: optional(term) },
  "giving-up": { ...ownTerm, bootId: text, command, reason: optional(text), commandId: text, grant: signed },
  replica: {},
  retired: { ...ownTerm, why: text, targetHostId: optional(text) },
  terminated: { termination: signed },
};

function shapeOf(phase: Phase): Readonly<Record<string, Field<unknown>>> {
  return SHAPES[phase] as Readonly<Record<string, Field<unknown>>>;
}

function isPhase(value: unknown): value is Phase {
  return typeof value === "string" && Object.hasOwn(SHAPES, value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function fromBase64(json: unknown): Uint8Array | undefined {
  if (typeof json !== "string") return undefined;
  const bytes = Buffer.from(json, "base64");
  return bytes.toString("base64") === json ? new Uint8Array(bytes) : undefined;
}
