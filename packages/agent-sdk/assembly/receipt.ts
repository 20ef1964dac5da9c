// A receipt as an agent reads it: the message Receipt of proto/godwit/lineage/v1/lineage.proto.

const varint: u32 = 0;
const lengthDelimited: u32 = 2;

export class Receipt {
  /** Who charged. */
  hostId: string = "";
  /** Both ends belong to it. */
  firstTick: u64 = 0;
  lastTick: u64 = 0;
  /** Run time, in nanoseconds. */
  elapsedNs: u64 = 0;
  /** Amounts in microcents. */
  pricePerSecond: u64 = 0;
  cost: u64 = 0;
  budgetAfter: u64 = 0;
  /** Only of a funding: what came in. */
  funded: u64 = 0;
  /** Only of a funding. */
  fundingId: Uint8Array = new Uint8Array(0);

  get isFunding(): bool {
    return this.fundingId.length > 0;
  }

  /** Null if it cannot be read. What a later version adds is passed over. */
  static read(bytes: Uint8Array): Receipt | null {
    const receipt = new Receipt();
    const reader = new FieldReader(bytes);
    while (reader.next()) receipt.take(reader);
    return reader.isBroken ? null : receipt;
  }

  private take(field: FieldReader): void {
    const isNumber = field.type == varint;
    if (field.type == lengthDelimited && field.number == 1) this.hostId = field.text();
    else if (field.type == lengthDelimited && field.number == 9) this.fundingId = field.bytes();
    else if (!isNumber) return;
    else if (field.number == 2) this.firstTick = field.value;
    else if (field.number == 3) this.lastTick = field.value;
    else if (field.number == 4) this.elapsedNs = field.value;
    else if (field.number == 5) this.pricePerSecond = field.value;
    else if (field.number == 6) this.cost = field.value;
    else if (field.number == 7) this.budgetAfter = field.value;
    else if (field.number == 8) this.funded = field.value;
  }
}

/** Fields of a protobuf message, one after the other. */
class FieldReader {
  isBroken: bool = false;
  number: u64 = 0;
  type: u32 = 0;
  /** Of a varint; of what has a length, that length. */
  value: u64 = 0;
  private at: i32 = 0;
  private from: i32 = 0;

  constructor(private readonly source: Uint8Array) {}

  next(): bool {
    if (this.isBroken || this.at == this.source.length) return false;
    const key = this.varint();
    this.number = key >> 3;
    this.type = <u32>key & 7;
    if (this.type == varint) this.value = this.varint();
    else if (this.type == lengthDelimited) this.skip(this.varint());
    else if (this.type == 1) this.skip(8);
    else if (this.type == 5) this.skip(4);
    else this.isBroken = true;
    return !this.isBroken;
  }

  bytes(): Uint8Array {
    return this.source.slice(this.from, this.at);
  }

  text(): string {
    return String.UTF8.decodeUnsafe(this.source.dataStart + this.from, this.at - this.from);
  }

  private skip(length: u64): void {
    if (length > <u64>(this.source.length - this.at)) {
      this.isBroken = true;
      return;
    }
    this.value = length;
    this.from = this.at;
    this.at += <i32>length;
  }

  private varint(): u64 {
    let value: u64 = 0;
    for (let shift: u64 = 0; shift < 64 && this.at < this.source.length; shift += 7) {
      const byte = this.source[this.at++];
      value |= <u64>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.isBroken = true;
    return 0;
  }
}
