// Money is a whole number of microcents, 10^-6 of a unit, in a bigint: exact, and nothing is ever rounded away.

import { Fault } from "../fault/index.ts";

/** 10^-6 of a unit. */
export type Microcents = bigint;

export const MICROCENTS_PER_UNIT = 1_000_000n;

/** The largest amount: it still fits a double and a 64-bit integer, so no peer in another language mangles it. */
export const MAX_MICROCENTS: Microcents = 9_000_000_000_000_000n;

const DECIMALS = 6;

/**
 * Reads "1", "0.25" or "12.345678" as units. `field` names the input in the error.
 * Throws Fault INVALID_ARGUMENT for anything else: signs, exponents, more than six decimals, more than the maximum.
 */
export function parseMoney(text: string, field: string): Microcents {
  const parts = /^(\d{1,20})(?:\.(\d+))?$/.exec(text.trim());
  const units = parts?.[1];
  const decimals = parts?.[2] ?? "";
  if (units === undefined) throw refused(field, `${quote(text)} is not an amount: write it like 1 or 0.25`);
  if (decimals.length > DECIMALS) throw refused(field, `${quote(text)} has more than ${DECIMALS} decimals`);
  return checkMoney(BigInt(units + decimals.padEnd(DECIMALS, "0")), field);
}

/** The amount itself, if it is one: not negative and not above the maximum. Throws Fault INVALID_ARGUMENT. */
export function checkMoney(amount: Microcents, field: string): Microcents {
  if (amount < 0n) throw refused(field, `${formatMoney(amount)} is negative: give 0 or more`);
  if (amount > MAX_MICROCENTS) {
    throw refused(field, `${formatMoney(amount)} is above the maximum of ${formatMoney(MAX_MICROCENTS)}`);
  }
  return amount;
}

/** In units, with as many decimals as it needs: "1", "0.25". What parseMoney reads back. */
export function formatMoney(amount: Microcents): string {
  const sign = amount < 0n ? "-" : "";
  const digits = (amount < 0n ? -amount : amount).toString().padStart(DECIMALS + 1, "0");
  const decimals = digits.slice(-DECIMALS).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -DECIMALS)}${decimals === "" ? "" : "."}${decimals}`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

function refused(field: string, reason: string): Fault {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}
