export { DataDirectory, type DataDirectoryParts } from "./data-directory.ts";
export type { CommitCounters } from "./group-commit.ts";
export type {
  BegunEntry,
  ClaimingEntry,
  GivingUpEntry,
  JournalEntry,
  OwnerEntry,
  Phase,
  RecoveringEntry,
  RelinquishedEntry,
  RetiredEntry,
} from "./journal.ts";
export type { ForcedChoice } from "./set-aside.ts";
export type {
  AgentIdentity,
  IncomingHandoff,
  StagedHandoff,
  StorageRules,
  StoredAgent,
  WriteUnit,
} from "./types.ts";
