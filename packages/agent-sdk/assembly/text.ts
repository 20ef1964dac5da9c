// Numbers as people read them, for logs.

const nsPerSecond: i64 = 1_000_000_000;
const microcentsPerUnit: i64 = 1_000_000;
const hexDigits = "0123456789abcdef";

/** Microcents in units: 1.500000. */
export function formatMoney(microcents: i64): string {
  const sign = microcents < 0 ? "-" : "";
  const size = <u64>abs(microcents); // right for the smallest i64, too
  const fraction = (size % microcentsPerUnit).toString().padStart(6, "0");
  return sign + (size / microcentsPerUnit).toString() + "." + fraction;
}

/** A span of time in seconds, to a tenth, which is as much as a person reads: 12.3 s. */
export function formatSeconds(ns: i64): string {
  const sign = ns < 0 ? "-" : "";
  const tenths = <u64>abs(ns) / (nsPerSecond / 10);
  return sign + (tenths / 10).toString() + "." + (tenths % 10).toString() + " s";
}

/** Nanoseconds since 1970 as 2024-01-01T00:00:00.000Z. */
export function formatTime(ns: i64): string {
  return new Date(ns / 1_000_000).toISOString();
}

/** In hex. */
export function formatBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    text += hexDigits.charAt(byte >> 4) + hexDigits.charAt(byte & 15);
  }
  return text;
}
