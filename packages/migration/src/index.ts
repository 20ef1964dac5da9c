export { judgeLoss, type LossSituation, type LossVerdict } from "./after-loss.ts";
export {
  type CampaignAim,
  type CampaignCommand,
  type CampaignEvent,
  type CampaignOutcome,
  type CampaignPhase,
  type CampaignPlan,
  type CampaignState,
  type CampaignStep,
  type Candidate,
  type Price,
  startCampaign,
  stepCampaign,
} from "./campaign.ts";
export { type Announced, ChunkAssembler, chunksOf } from "./frames/chunks.ts";
export type {
  CheckpointFrame,
  ChunkFrame,
  HandoffEndFrame,
  HandoffFrame,
  MigrationFrameKind,
  OfferFrame,
  ReplayEndFrame,
  SourceFrame,
  SpineFrame,
  TargetFrame,
} from "./frames/frames.ts";
export { FRAME_LIMITS } from "./frames/limits.ts";
export {
  decodeSourceFrame,
  decodeTargetFrame,
  encodeSourceFrame,
  encodeTargetFrame,
  frameKindOf,
} from "./frames/migration-codec.ts";
export {
  decodeHolderFrame,
  decodeOwnerFrame,
  encodeHolderFrame,
  encodeOwnerFrame,
  type HolderFrame,
  type OwnerFrame,
  type ReplicaAcceptFrame,
  type ReplicaEndFrame,
  type ReplicaHeldFrame,
  type ReplicaOfferFrame,
  type ReplicaRefusedFrame,
  type ReplicaTerminatedFrame,
} from "./frames/replication-codec.ts";
export { decodeReplay, type ReplayRecord, replayFrames } from "./frames/replay.ts";
export { SpineAssembler, spineFrames } from "./frames/spine.ts";
export { type JournalView, judge, type Reading, type Situation, type Verdict, type Wait } from "./judge.ts";
export {
  type AwaitedOfTarget,
  isBeforeRelinquish,
  type OwnerAnswer,
  type Resolution,
  type SourceCommand,
  type SourceEvent,
  type SourceOutcome,
  type SourcePhase,
  type SourcePlan,
  type SourceState,
  type SourceStep,
  startSource,
  stepSource,
} from "./source.ts";
export { type ClaimedHandoff, type Standing, standingOf } from "./standing.ts";
export type { Step, Trouble } from "./step.ts";
export {
  type AwaitedOfSource,
  type ClaimAnswer,
  isBeforeClaim,
  type SourceWord,
  startTarget,
  stepTarget,
  type TargetCommand,
  type TargetEvent,
  type TargetOutcome,
  type TargetPhase,
  type TargetState,
  type TargetStep,
} from "./target.ts";
