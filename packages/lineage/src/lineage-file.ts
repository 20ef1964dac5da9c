// An agent's lineage as it was exported: every header that somebody held, to be verified where no service answers.

import { Fault } from "@godwit/common/fault";
import { decodeHeadersFile, encodeHeadersFile, type HeadersFile } from "./headers-file.ts";
import type { Complaint } from "./wire.ts";

/** Throws Fault LINEAGE_INVALID for what could not be read back. */
export function encodeLineageFile(file: HeadersFile): Uint8Array {
  return encodeHeadersFile("GWLN", file, complain);
}

/** Total: any bytes give what was exported, or Fault LINEAGE_INVALID. Verifies nothing: see verifyLineage. */
export function decodeLineageFile(bytes: Uint8Array): HeadersFile {
  return decodeHeadersFile("GWLN", bytes, complain);
}

const complain: Complaint = (reason) => new Fault({ code: "LINEAGE_INVALID", reason: `of its file, ${reason}` });
