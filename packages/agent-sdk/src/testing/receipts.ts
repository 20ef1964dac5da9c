// Receipts as a host gives them to an agent: the message Receipt of proto/godwit/lineage/v1/lineage.proto.

export interface ReceiptFields {
  readonly hostId?: string;
  readonly firstTick?: bigint;
  readonly lastTick?: bigint;
  readonly elapsedNs?: bigint;
  /** Amounts in microcents. */
  readonly pricePerSecond?: bigint;
  readonly cost?: bigint;
  readonly budgetAfter?: bigint;
  readonly funded?: bigint;
  readonly fundingId?: Uint8Array;
}

export function encodeReceipt(receipt: ReceiptFields): Uint8Array {
  const hostId = new TextEncoder().encode(receipt.hostId ?? "");
  const numbers = [
    receipt.firstTick,
    receipt.lastTick,
    receipt.elapsedNs,
    receipt.pricePerSecond,
    receipt.cost,
    receipt.budgetAfter,
    receipt.funded,
  ];
  return Uint8Array.from([
    ...bytesField(1, hostId),
    ...numbers.flatMap((value, index) => numberField(index + 2, value ?? 0n)),
    ...bytesField(9, receipt.fundingId ?? new Uint8Array()),
  ]);
}

function bytesField(number: number, bytes: Uint8Array): number[] {
  return bytes.length === 0 ? [] : [(number << 3) | 2, ...varint(BigInt(bytes.length)), ...bytes];
}

function numberField(number: number, value: bigint): number[] {
  return value === 0n ? [] : [number << 3, ...varint(value)];
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
}
