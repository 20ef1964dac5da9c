// What an agent is. The digest of these bytes is its id (protocol §2), so they are kept and passed on as they are.

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { RecoveryPolicy } from "@godwit/common/lease";
import type { Microcents } from "@godwit/common/money";
import { GenesisSchema, ImportedSchema, type Imported as WireImported } from "@godwit/proto/godwit/lineage/v1/lineage";
import { digestOf, digestToBytes, hexOf, isDigest } from "./digest.ts";
import { isHostId } from "./keys.ts";
import { fromProtoPolicy, toProtoPolicy } from "./policy.ts";
import { isSeedFormat } from "./seed/checkpoint.ts";
import { type Complaint, firstOf, isId, isU64, readMessage } from "./wire.ts";

export interface Genesis {
  readonly creatorHostId: string;
  readonly moduleDigest: string;
  readonly manifestDigest: string;
  /** The store's incarnation under which the agent was made. */
  readonly incarnation: string;
  /** 16 to 64 random bytes. */
  readonly nonce: Uint8Array;
  readonly recoveryPolicy: RecoveryPolicy;
  /** A label of at most 128 characters, for people; two agents may have the same. */
  readonly name: string;
  /** Of an agent that was taken over from the seed system: what it goes on from. */
  readonly imported?: Imported | undefined;
}

/** A checkpoint of the seed system, as its whole file was when it was taken over. */
export interface Imported {
  /** SHA-256 of the file: what the header of tick 0 names as the checkpoint before it. */
  readonly digest: string;
  readonly format: number;
  readonly tick: bigint;
  /** What the file had; the budget that the agent got may be another. A debt of the seed counts as 0. */
  readonly budget: Microcents;
  /** The Ed25519 key that signed it, in hex; `undefined` for a format without a signature. */
  readonly publicKey: string | undefined;
  /** SHA-256 of the file of receipts that was checked with it; `undefined`: none came. */
  readonly receiptsDigest: string | undefined;
}

export interface IdentifiedGenesis extends Genesis {
  readonly agentId: string;
}

export const MAX_GENESIS_BYTES = 2048;

const MIN_NONCE_BYTES = 16;
const MAX_NONCE_BYTES = 64;
const MAX_NAME_CHARS = 128;

/** Throws Fault INVALID_ARGUMENT for a genesis that nobody would accept. */
export function createGenesis(genesis: Genesis): { readonly bytes: Uint8Array; readonly agentId: string } {
  const moduleDigest = digestToBytes(genesis.moduleDigest, "module digest");
  const manifestDigest = digestToBytes(genesis.manifestDigest, "manifest digest");
  const problem = genesisProblem(genesis);
  if (problem !== undefined) throw new Fault({ code: "INVALID_ARGUMENT", field: "genesis", reason: problem });

  const { creatorHostId, incarnation, nonce, name, imported } = genesis;
  const recoveryPolicy = toProtoPolicy(genesis.recoveryPolicy);
  const message = { creatorHostId, moduleDigest, manifestDigest, incarnation, nonce, recoveryPolicy, name };
  const bytes = toBinary(
    GenesisSchema,
    create(GenesisSchema, imported === undefined ? message : { ...message, imported: toProtoImported(imported) }),
  );
  return { bytes, agentId: digestOf(bytes) };
}

/** Total: any bytes give a genesis or Fault CHECKPOINT_INVALID (a genesis travels in the checkpoint of tick 0). */
export function readGenesis(bytes: Uint8Array): IdentifiedGenesis {
  const message = readMessage(GenesisSchema, bytes, MAX_GENESIS_BYTES, complain);
  if (message.moduleDigest.length !== 32) throw complain("it names no module digest");
  if (message.manifestDigest.length !== 32) throw complain("it names no manifest digest");
  const recoveryPolicy = fromProtoPolicy(message.recoveryPolicy);
  if (recoveryPolicy === undefined) throw complain("it names no known recovery policy");

  const genesis: IdentifiedGenesis = {
    agentId: digestOf(bytes),
    creatorHostId: message.creatorHostId,
    moduleDigest: hexOf(message.moduleDigest),
    manifestDigest: hexOf(message.manifestDigest),
    incarnation: message.incarnation,
    nonce: new Uint8Array(message.nonce),
    recoveryPolicy,
    name: message.name,
    imported: message.imported && fromProtoImported(message.imported),
  };
  const problem = genesisProblem(genesis);
  if (problem !== undefined) throw complain(problem);
  return genesis;
}

const complain: Complaint = (reason) => new Fault({ code: "CHECKPOINT_INVALID", reason: `of its genesis, ${reason}` });

function toProtoImported(imported: Imported): WireImported {
  const { digest, format, tick, budget, publicKey = "", receiptsDigest = "" } = imported;
  return create(ImportedSchema, {
    digest: Buffer.from(digest, "hex"),
    format,
    tick,
    budget,
    publicKey: Buffer.from(publicKey, "hex"),
    receiptsDigest: Buffer.from(receiptsDigest, "hex"),
  });
}

/** Takes the values over as they are: whether they make sense is importedProblem's to say. */
function fromProtoImported({ digest, format, tick, budget, publicKey, receiptsDigest }: WireImported): Imported {
  return {
    digest: hexOf(digest),
    format,
    tick,
    budget,
    publicKey: publicKey.length === 0 ? undefined : hexOf(publicKey),
    receiptsDigest: receiptsDigest.length === 0 ? undefined : hexOf(receiptsDigest),
  };
}

function importedProblem({ digest, format, tick, budget, publicKey, receiptsDigest }: Imported): string | undefined {
  return firstOf(
    !isDigest(digest) && "it does not name the checkpoint that it goes on from",
    !isSeedFormat(format) && `it goes on from a checkpoint of format ${format}, which nobody can take over`,
    ![tick, budget].every(isU64) && "a number of the checkpoint that it goes on from is out of range",
    // Both are 32 bytes in hex.
    (publicKey === undefined) === (format === 4) &&
      "the checkpoint that it goes on from is signed in format 4, and only there",
    publicKey !== undefined && !isDigest(publicKey) && "the key of the checkpoint that it goes on from is malformed",
    receiptsDigest !== undefined && !isDigest(receiptsDigest) && "the digest of the receipts that came is malformed",
  );
}

function genesisProblem({ creatorHostId, incarnation, nonce, name, imported }: Genesis): string | undefined {
  return firstOf(
    !isHostId(creatorHostId) && "the creator's host id is no Ed25519 peer id",
    !isId(incarnation) && "the incarnation is empty, too long or not printable",
    (nonce.length < MIN_NONCE_BYTES || nonce.length > MAX_NONCE_BYTES) &&
      `the nonce has ${nonce.length} bytes, not ${MIN_NONCE_BYTES} to ${MAX_NONCE_BYTES}`,
    name.length > MAX_NAME_CHARS && `the name has more than ${MAX_NAME_CHARS} characters`,
    // A name is shown on terminals.
    /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(name) && "the name has control characters",
    imported && importedProblem(imported),
  );
}
