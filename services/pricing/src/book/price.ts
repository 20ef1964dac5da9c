import type { Microcents } from "@godwit/common/money";

/** What a host asks for a second of an agent's run time, as the book has it. */
export interface BookedPrice {
  readonly hostId: string;
  readonly pricePerSecond: Microcents;
  /** host:port of the host's gRPC. */
  readonly grpcAddress: string;
  /** When the host said so, by our wall clock. For people. */
  readonly seenAtUnixNs: bigint;
  /** By the host's own wall clock, from its newest signed statement; undefined while it has signed none. */
  readonly statedAtUnixNs: bigint | undefined;
}

/** What a host has signed. */
export interface PriceStatement {
  readonly hostId: string;
  readonly pricePerSecond: Microcents;
  readonly grpcAddress: string;
  readonly statedAtUnixNs: bigint;
}

/** What a host answered when it was asked. */
export interface PriceAnswer {
  readonly hostId: string;
  readonly pricePerSecond: Microcents;
  /** Where it answered. */
  readonly grpcAddress: string;
  /** When the answer was here, by our wall clock. */
  readonly seenAtUnixNs: bigint;
  /** The same by our monotonic clock, which tells what was heard later. */
  readonly heardAtMs: number;
}

/** Where a list goes on: after this one, by price and then by host id. */
export interface PriceCursor {
  readonly pricePerSecond: Microcents;
  readonly hostId: string;
}

export function unixNs(wall: Date): bigint {
  return BigInt(wall.getTime()) * 1_000_000n;
}
