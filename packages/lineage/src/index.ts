export type { LineageOwner, Orphan, OrphanKind, ReceiptTotals, Rollback } from "./account.ts";
export type { LineageProblem, LineageProblemKind } from "./chain.ts";
export {
  type Checkpoint,
  type CheckpointLimits,
  DEFAULT_CHECKPOINT_LIMITS,
  decodeCheckpoint,
  encodeCheckpoint,
  isWhole,
  joinCheckpoint,
  refOf,
  writeCheckpoint,
} from "./checkpoint.ts";
export { digestFromBytes, digestOf, digestToBytes, isDigest } from "./digest.ts";
export {
  checkDoubleSigning,
  type DoubleSigning,
  decodeEvidence,
  type Evidence,
  type EvidenceFlaw,
  encodeEvidence,
  evidenceOf,
  findDoubleSignings,
} from "./evidence.ts";
export { fundingIdsAfter, MAX_FUNDING_IDS } from "./fundings.ts";
export {
  createGenesis,
  type Genesis,
  type IdentifiedGenesis,
  type Imported,
  MAX_GENESIS_BYTES,
  readGenesis,
} from "./genesis.ts";
export { type Grant, issueGrant, MAX_GRANT_BYTES, readGrant } from "./grant.ts";
export { type Header, MAX_HEADER_BYTES, type Origin, readHeader } from "./header.ts";
export { MAX_RECEIPTS } from "./header-rules.ts";
export type { HeadersFile } from "./headers-file.ts";
export { hostIdOf, isHostId, publicKeyOfHost, type Signer, signerFromSeed } from "./keys.ts";
export { decodeLineageFile, encodeLineageFile } from "./lineage-file.ts";
export { fromProtoPolicy, toProtoPolicy } from "./policy.ts";
export {
  fromProtoRef,
  fromProtoSession,
  fromProtoSigned,
  toProtoRef,
  toProtoSession,
  toProtoSigned,
} from "./proto.ts";
export {
  encodeReceipt,
  type FundingReceipt,
  fundingIdFromBytes,
  fundingIdToBytes,
  isFunding,
  isFundingId,
  type Receipt,
  readReceipt,
} from "./receipt.ts";
export { MAX_SEALED_BYTES, open, type SealKind, SIGNATURE_BYTES, seal } from "./seal.ts";
export type { Fork } from "./settled.ts";
export { issueTermination, MAX_TERMINATION_BYTES, readTermination, type Termination } from "./termination.ts";
export { issueToken, MAX_TOKEN_BYTES, type RelinquishToken, readToken } from "./token.ts";
export { type VerifiedHeader, verifyHeader } from "./verify-header.ts";
export { type LineageReport, type LineageVerdict, verifyLineage } from "./verify-lineage.ts";
export { linkProblem, moneyProblem, verifySpine } from "./verify-spine.ts";
export { checkWallet, MAX_WALLET_RECEIPTS, type WalletOwner } from "./wallet.ts";
