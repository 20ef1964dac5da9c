export {
  decodeSeedCheckpoint,
  holdsSeedSignature,
  isSeedFormat,
  type SeedCheckpoint,
  type SeedCheckpointRules,
  type SeedCustody,
  type SeedFormat,
  type SeedLease,
} from "./checkpoint.ts";
export { checkSeedReceipts, readSeedReceipts, type SeedReceipt, type SeedReceiptSummary } from "./receipts.ts";
