// Nothing that a peer announces or sends is larger, and nothing is allocated on the word of a length alone.

const KIB = 1024;
const MIB = 1024 * KIB;

export const FRAME_LIMITS = {
  /** One frame on the stream, its length prefix not counted. */
  maxFrameBytes: MIB,
  /** Values in one frame, however small: far above what all receipts and headers that fit into one need. */
  maxFrameFields: 16_384,
  /** What module and state are cut into; a state of at most this travels inside FinalCheckpoint. */
  chunkBytes: 256 * KIB,
  maxModuleBytes: 64 * MIB,
  maxStateBytes: 64 * MIB,
  /** A state, and the event logs of the ticks after it. */
  maxReplayBytes: 72 * MIB,
  maxManifestBytes: 64 * KIB,
  /** All receipts of a handoff together; with a chunk of state and the rest they fit into one frame. */
  maxReceiptsBytes: 512 * KIB,
  maxReceipts: 4096,
  /** All headers of a spine together. */
  maxSpineBytes: 32 * MIB,
  maxSpineHeaders: 65_536,
  /** How much of a spine goes into one frame. */
  spineFrameBytes: 256 * KIB,
} as const;
