/** One line of JSON: bigints as decimal strings, bytes as lower-case hex, what is not there left out. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === "bigint") return part.toString();
    if (part instanceof Uint8Array) return Buffer.from(part).toString("hex");
    return part;
  });
}
