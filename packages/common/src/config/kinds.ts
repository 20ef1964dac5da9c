// What a variable or a flag may hold: how its text is read, and how a value is shown in the help text.

import { isFault } from "../fault/index.ts";
import { formatMoney, MAX_MICROCENTS, type Microcents, parseMoney } from "../money/index.ts";

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

export interface Kind<T> {
  /** What stands for the value in help: DURATION. Empty for a switch, which needs no value. */
  readonly placeholder: string;
  /** Taken on with after a problem was noted, so that all problems are found; nobody sees it in the end. */
  readonly standIn: T;
  parse(text: string): Parsed<T>;
  format(value: T): string;
}

export interface Range {
  readonly min?: number;
  readonly max?: number;
}

export interface TextRules {
  readonly pattern?: RegExp;
  /** What the pattern asks for, in words: "a host name". */
  readonly expected?: string;
}

export interface MoneyRules {
  readonly min?: Microcents;
  readonly max?: Microcents;
}

export function textKind({ pattern, expected = "in the right form" }: TextRules = {}): Kind<string> {
  return {
    placeholder: "TEXT",
    standIn: "",
    parse: (text) => {
      if (text === "") return bad("is empty");
      return pattern === undefined || pattern.test(text) ? good(text) : bad(`${quote(text)} is not ${expected}`);
    },
    format: (value) => value,
  };
}

export function integerKind(range: Range = {}): Kind<number> {
  return {
    placeholder: "NUMBER",
    standIn: range.min ?? 0,
    parse: (text) => {
      if (!/^-?\d{1,16}$/.test(text)) return bad(`${quote(text)} is not a whole number`);
      return within(Number(text), range, String);
    },
    format: String,
  };
}

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** "500ms", "10s", "1.5m", "2h"; a bare number is milliseconds. */
export function durationKind(range: Range = {}): Kind<number> {
  return {
    placeholder: "DURATION",
    standIn: range.min ?? 0,
    parse: (text) => {
      const parts = /^(-?\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h)?$/.exec(text);
      if (parts === null) return bad(`${quote(text)} is not a duration: write it like 500ms, 10s or 2m`);
      const ms = Math.round(Number(parts[1]) * UNIT_MS[(parts[2] ?? "ms") as keyof typeof UNIT_MS]);
      return within(ms, { min: 0, ...range }, formatDuration);
    },
    format: formatDuration,
  };
}

const UNIT_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** "64KiB", "8MiB"; a bare number is bytes. */
export function bytesKind(range: Range = {}): Kind<number> {
  return {
    placeholder: "SIZE",
    standIn: range.min ?? 0,
    parse: (text) => {
      const parts = /^(-?\d{1,15})(B|KiB|MiB|GiB)?$/.exec(text);
      if (parts === null) return bad(`${quote(text)} is not a size: write it like 4096, 64KiB or 8MiB`);
      const bytes = Number(parts[1]) * UNIT_BYTES[(parts[2] ?? "B") as keyof typeof UNIT_BYTES];
      return within(bytes, { min: 0, max: Number.MAX_SAFE_INTEGER, ...range }, formatBytes);
    },
    format: formatBytes,
  };
}

export function moneyKind({ min = 0n, max = MAX_MICROCENTS }: MoneyRules = {}): Kind<Microcents> {
  return {
    placeholder: "AMOUNT",
    standIn: min,
    parse: (text) => {
      try {
        const amount = parseMoney(text, "amount");
        if (amount < min) return bad(`${formatMoney(amount)} is too small: at least ${formatMoney(min)}`);
        return amount > max ? bad(`${formatMoney(amount)} is too large: at most ${formatMoney(max)}`) : good(amount);
      } catch (error) {
        if (isFault(error, "INVALID_ARGUMENT")) return bad(error.detail.reason);
        throw error;
      }
    },
    format: formatMoney,
  };
}

export function flagKind(): Kind<boolean> {
  return {
    placeholder: "",
    standIn: false,
    parse: (text) => {
      if (/^(true|1|yes|on)$/i.test(text)) return good(true);
      return /^(false|0|no|off)$/i.test(text) ? good(false) : bad(`${quote(text)} is neither true nor false`);
    },
    format: String,
  };
}

export function choiceKind<const C extends string>(choices: readonly [C, ...C[]]): Kind<C> {
  return {
    placeholder: choices.join("|"),
    standIn: choices[0],
    parse: (text) => {
      const choice = choices.find((known) => known === text);
      return choice === undefined ? bad(`${quote(text)} is none of ${choices.join(", ")}`) : good(choice);
    },
    format: (value) => value,
  };
}

/** Where something listens. */
export interface Address {
  readonly host: string;
  /** 0 is any free one. */
  readonly port: number;
}

/** "127.0.0.1:7443", "registry.local:7443", "[::1]:7443". */
export function addressKind(): Kind<Address> {
  return {
    placeholder: "HOST:PORT",
    standIn: { host: "", port: 0 },
    parse: (text) => {
      const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text);
      const host = parts?.[1] ?? parts?.[2];
      if (host === undefined)
        return bad(`${quote(text)} is not an address: write it like 127.0.0.1:7443 or [::1]:7443`);
      const port = Number(parts?.[3]);
      return port > 65_535 ? bad(`${port} is not a port: 0 to 65535`) : good({ host, port });
    },
    format: formatAddress,
  };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Values with commas between them. An empty text is the empty list. */
export function listKind<T>(of: Kind<T>): Kind<readonly T[]> {
  return {
    placeholder: `${of.placeholder},…`,
    standIn: [],
    parse: (text) => {
      const values: T[] = [];
      for (const part of text.split(",").map((raw) => raw.trim())) {
        if (part === "") continue;
        const parsed = of.parse(part);
        if (!parsed.ok) return parsed;
        values.push(parsed.value);
      }
      return good(values);
    },
    format: (values) => values.map((value) => of.format(value)).join(","),
  };
}

function good<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

function bad<T>(problem: string): Parsed<T> {
  return { ok: false, problem };
}

function within(value: number, { min, max }: Range, show: (value: number) => string): Parsed<number> {
  if (min !== undefined && value < min) return bad(`${show(value)} is too small: at least ${show(min)}`);
  return max !== undefined && value > max ? bad(`${show(value)} is too large: at most ${show(max)}`) : good(value);
}

function formatDuration(ms: number): string {
  if (ms !== 0 && ms % UNIT_MS.h === 0) return `${ms / UNIT_MS.h}h`;
  if (ms !== 0 && ms % UNIT_MS.m === 0) return `${ms / UNIT_MS.m}m`;
  return ms !== 0 && ms % UNIT_MS.s === 0 ? `${ms / UNIT_MS.s}s` : `${ms}ms`;
}

function formatBytes(bytes: number): string {
  for (const unit of ["GiB", "MiB", "KiB"] as const) {
    if (bytes !== 0 && bytes % UNIT_BYTES[unit] === 0) return `${bytes / UNIT_BYTES[unit]}${unit}`;
  }
  return `${bytes}`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
