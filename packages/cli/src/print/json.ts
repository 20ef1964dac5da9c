/** One line of JSON: bigints as decimal strings, bytes as lower-case hex, what is not there left out. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key: string, part: unknown) {
    if (typeof part === "bigint") return part.toString();
    const original = this[key]; // a Buffer has been turned into something else by now
    if (original instanceof Uint8Array) return Buffer.from(original).toString("hex");
    return part;
  });
}
