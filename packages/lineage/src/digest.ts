import { hash } from "node:crypto";
import { Fault } from "@godwit/common/fault";

/** SHA-256 in lower-case hex: the form of every digest and agent id on the TypeScript side. */
export function digestOf(bytes: Uint8Array): string {
  return hash("sha256", bytes, "hex");
}

export function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** The 32 bytes of a digest in hex. Throws Fault INVALID_ARGUMENT for anything else, naming `field`. */
export function digestToBytes(digest: string, field = "digest"): Uint8Array {
  if (!isDigest(digest)) {
    throw new Fault({ code: "INVALID_ARGUMENT", field, reason: "give a SHA-256 digest as 64 lower-case hex digits" });
  }
  return new Uint8Array(Buffer.from(digest, "hex"));
}

/** Hex of the 32 bytes of a digest. Throws Fault INVALID_ARGUMENT for another length, naming `field`. */
export function digestFromBytes(bytes: Uint8Array, field = "digest"): string {
  if (bytes.length !== 32) {
    throw new Fault({
      code: "INVALID_ARGUMENT",
      field,
      reason: `give a SHA-256 digest of 32 bytes, not ${bytes.length}`,
    });
  }
  return hexOf(bytes);
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
