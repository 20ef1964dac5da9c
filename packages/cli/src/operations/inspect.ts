// What a file is: a checkpoint of ours or of the seed system, a lineage, or evidence. No service is asked and no agent is needed.

import { Fault, isFault } from "@godwit/common/fault";
import {
  type Checkpoint,
  decodeCheckpoint,
  decodeEvidence,
  decodeLineageFile,
  digestOf,
  type Evidence,
  type HeadersFile,
  type IdentifiedGenesis,
  type LineageReport,
  readGenesis,
  type VerifiedHeader,
  verifyHeader,
  verifyLineage,
} from "@godwit/lineage";
import { decodeSeedCheckpoint, holdsSeedSignature, isSeedFormat, type SeedCheckpoint } from "@godwit/lineage/seed";
import { readCarried } from "./files.ts";
import { keyOf } from "./lineage.ts";

/** What a signature comes to: nobody looked, or why it does not hold. */
export type Checked<T> =
  | { readonly kind: "not-checked" }
  | { readonly kind: "holds"; readonly by: T }
  | { readonly kind: "broken"; readonly reason: string };

export interface SeedInspection {
  readonly kind: "seed-checkpoint";
  readonly bytes: number;
  readonly checkpoint: SeedCheckpoint;
  readonly signature: "valid" | "invalid" | "none";
  /** `undefined`: no module was given. */
  readonly isOfModule: boolean | undefined;
}

export interface CheckpointInspection {
  readonly kind: "checkpoint";
  readonly bytes: number;
  readonly checkpoint: Checkpoint;
  /** Only of tick 0. */
  readonly genesis: IdentifiedGenesis | undefined;
  /** Header and grant. */
  readonly verified: Checked<VerifiedHeader>;
  readonly isOfModule: boolean | undefined;
}

export type Inspection =
  | SeedInspection
  | CheckpointInspection
  | { readonly kind: "lineage"; readonly file: HeadersFile; readonly report: LineageReport }
  | { readonly kind: "evidence"; readonly evidence: Evidence };

/** Throws Fault DISK_FAILED; CHECKPOINT_INVALID, LINEAGE_INVALID or EVIDENCE_INVALID for what is no such file. */
export function inspectFile(
  path: string,
  { wasmPath, registryKey }: { readonly wasmPath: string | undefined; readonly registryKey: string | undefined },
): Inspection {
  const bytes = readCarried(path);
  const moduleDigest = wasmPath === undefined ? undefined : digestOf(readCarried(wasmPath));
  switch (new TextDecoder("latin1").decode(bytes.subarray(0, 4))) {
    case "GWCP":
      return inspectOurs(bytes, { moduleDigest, registryKey });
    case "GWLN": {
      const file = decodeLineageFile(bytes);
      const key = registryKey === undefined ? file.registryPublicKey : keyOf(registryKey);
      return { kind: "lineage", file, report: verifyLineage(file.headers, key) };
    }
    case "GWEV":
      return { kind: "evidence", evidence: decodeEvidence(bytes) };
    default:
      return inspectSeeds(bytes, moduleDigest);
  }
}

function inspectOurs(
  bytes: Uint8Array,
  {
    moduleDigest,
    registryKey,
  }: { readonly moduleDigest: string | undefined; readonly registryKey: string | undefined },
): CheckpointInspection {
  const checkpoint = decodeCheckpoint(bytes);
  const { genesis, moduleDigest: own } = checkpoint.header;
  return {
    kind: "checkpoint",
    bytes: bytes.length,
    checkpoint,
    genesis: genesis && readGenesis(genesis),
    verified: registryKey === undefined ? { kind: "not-checked" } : verify(checkpoint, keyOf(registryKey)),
    isOfModule: moduleDigest === undefined ? undefined : moduleDigest === own,
  };
}

function inspectSeeds(bytes: Uint8Array, moduleDigest: string | undefined): SeedInspection {
  const [version] = bytes;
  if (version !== undefined && !isSeedFormat(version)) {
    const reason = "it is no checkpoint of Godwit, nor one of the seed system of format 2, 3 or 4";
    throw new Fault({ code: "CHECKPOINT_INVALID", reason });
  }
  const checkpoint = decodeSeedCheckpoint(bytes, { negativeBudget: "kept" });
  const { custody } = checkpoint;
  return {
    kind: "seed-checkpoint",
    bytes: bytes.length,
    checkpoint,
    signature: custody === undefined ? "none" : holdsSeedSignature(bytes, custody) ? "valid" : "invalid",
    isOfModule: moduleDigest === undefined ? undefined : moduleDigest === checkpoint.moduleDigest,
  };
}

function verify({ signed }: Checkpoint, registryKey: Uint8Array): Checked<VerifiedHeader> {
  try {
    return { kind: "holds", by: verifyHeader(signed, registryKey) };
  } catch (error) {
    if (!isFault(error)) throw error;
    return { kind: "broken", reason: error.message };
  }
}

/** Nothing that was looked at is wrong. */
export function isSound(inspection: Inspection): boolean {
  switch (inspection.kind) {
    case "seed-checkpoint":
      return inspection.signature !== "invalid" && inspection.isOfModule !== false;
    case "checkpoint":
      return inspection.verified.kind !== "broken" && inspection.isOfModule !== false;
    default:
      return true; // godwit verify and godwit evidence judge those
  }
}
