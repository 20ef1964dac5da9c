// What an agent is. The digest of these bytes is its id (protocol §2), so they are kept and passed on as they are.

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { RecoveryPolicy } from "@godwit/common/lease";
import { GenesisSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { digestOf, digestToBytes, hexOf } from "./digest.ts";
import { isHostId } from "./keys.ts";
import { fromProtoPolicy, toProtoPolicy } from "./policy.ts";
import { type Complaint, firstOf, isId, readMessage } from "./wire.ts";

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

  const { creatorHostId, incarnation, nonce, name } = genesis;
  const recoveryPolicy = toProtoPolicy(genesis.recoveryPolicy);
  const bytes = toBinary(
    GenesisSchema,
    create(GenesisSchema, { creatorHostId, moduleDigest, manifestDigest, incarnation, nonce, recoveryPolicy, name }),
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
  };
  const problem = genesisProblem(genesis);
  if (problem !== undefined) throw complain(problem);
  return genesis;
}

const complain: Complaint = (reason) => new Fault({ code: "CHECKPOINT_INVALID", reason: `of its genesis, ${reason}` });

function genesisProblem({ creatorHostId, incarnation, nonce, name }: Genesis): string | undefined {
  return firstOf(
    !isHostId(creatorHostId) && "the creator's host id is no Ed25519 peer id",
    !isId(incarnation) && "the incarnation is empty, too long or not printable",
    (nonce.length < MIN_NONCE_BYTES || nonce.length > MAX_NONCE_BYTES) &&
      `the nonce has ${nonce.length} bytes, not ${MIN_NONCE_BYTES} to ${MAX_NONCE_BYTES}`,
    name.length > MAX_NAME_CHARS && `the name has more than ${MAX_NAME_CHARS} characters`,
    // A name is shown on terminals.
    /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(name) && "the name has control characters",
  );
}
