// Files as the seed system wrote them, for tests.

import { type Signer, signerFromSeed } from "../keys.ts";
import type { SeedFormat } from "../seed/index.ts";

/** The keys of an agent of the seed and of a host of it. */
export const seedAgent = signerFromSeed(new Uint8Array(32).fill(60));
export const seedNode = signerFromSeed(new Uint8Array(32).fill(61));

export interface SeedFileContent {
  readonly format?: SeedFormat;
  readonly budget?: bigint;
  readonly pricePerSecond?: bigint;
  readonly tick?: bigint;
  /** 32 bytes in hex. */
  readonly moduleDigest: string;
  readonly major?: bigint;
  readonly generation?: bigint;
  readonly leaseEndsAtNs?: bigint;
  readonly previous?: string;
  /** Of format 4; it signs, unless another does. */
  readonly agent?: Signer;
  readonly signer?: Signer;
  readonly state: Uint8Array;
}

export function seedCheckpointFile({ format = 4, state, moduleDigest, ...content }: SeedFileContent): Uint8Array {
  const { agent = seedAgent, previous = "" } = content;
  const front = Buffer.concat([
    Buffer.of(format),
    i64(content.budget ?? 2_000_000n),
    i64(content.pricePerSecond ?? 1_000n),
    i64(content.tick ?? 10n),
    Buffer.from(moduleDigest, "hex"),
  ]);
  if (format === 2) return new Uint8Array(Buffer.concat([front, state]));
  const lease = [i64(content.major ?? 3n), i64(content.generation ?? 7n), i64(content.leaseEndsAtNs ?? 0n)];
  if (format === 3) return new Uint8Array(Buffer.concat([front, ...lease, state]));
  const before = Buffer.from(previous.padStart(64, "0"), "hex");
  const head = Buffer.concat([front, ...lease, before, agent.publicKey]);
  const signature = (content.signer ?? agent).sign(Buffer.concat([head, state]));
  return new Uint8Array(Buffer.concat([head, signature, state]));
}

export interface SeedReceiptContent {
  readonly agentId?: string;
  readonly nodeId: string;
  readonly firstTick: bigint;
  readonly lastTick: bigint;
  readonly cost: bigint;
  readonly budgetAfter: bigint;
  readonly atNs?: bigint;
  readonly signer?: Signer;
}

export function seedReceiptsFile(receipts: readonly SeedReceiptContent[]): Uint8Array {
  const each = receipts.map(({ agentId = "local-agent", nodeId, signer = seedNode, ...receipt }) => {
    const { firstTick, lastTick, cost, budgetAfter, atNs = 1_700_000_000_000_000_000n } = receipt;
    const numbers = [firstTick, lastTick, cost, budgetAfter, atNs].map(i64);
    const signed = Buffer.concat([sized(Buffer.from(agentId)), sized(Buffer.from(nodeId)), ...numbers]);
    return sized(Buffer.concat([signed, sized(signer.sign(signed))]));
  });
  return new Uint8Array(Buffer.concat([u32(receipts.length), ...each]));
}

function sized(bytes: Uint8Array): Buffer {
  return Buffer.concat([u32(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt.asIntN(64, value));
  return bytes;
}
