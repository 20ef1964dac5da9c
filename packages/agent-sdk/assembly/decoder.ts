// Reads what an Encoder wrote. It sticks at the first thing that is wrong: from then on it reads zeroes, and `ok` is false.

export class Decoder {
  private read: i32 = 0;
  private failed: bool = false;
  private why: string = "";

  /** Of bytes that stay where they are while it reads. */
  constructor(
    private readonly at: usize,
    readonly length: i32,
  ) {}

  /** The bytes have to be kept for as long as it reads. */
  static of(bytes: Uint8Array): Decoder {
    return new Decoder(bytes.dataStart, bytes.length);
  }

  get ok(): bool {
    return !this.failed;
  }

  /** What was wrong first; empty if nothing was. */
  get problem(): string {
    return this.why;
  }

  get remaining(): i32 {
    return this.length - this.read;
  }

  /** For what the bytes alone do not tell: a number out of range, a list that is too long. */
  fail(why: string): void {
    if (this.failed) return;
    this.failed = true;
    this.why = why;
  }

  u8(): u8 {
    const from = this.take(1);
    return from == 0 ? 0 : load<u8>(from);
  }

  bool(): bool {
    const value = this.u8();
    if (value > 1) this.fail("at byte " + (this.read - 1).toString() + " is " + value.toString() + ", which is no bool");
    return value == 1;
  }

  u32(): u32 {
    const from = this.take(4);
    return from == 0 ? 0 : load<u32>(from);
  }

  i32(): i32 {
    return <i32>this.u32();
  }

  u64(): u64 {
    const from = this.take(8);
    return from == 0 ? 0 : load<u64>(from);
  }

  i64(): i64 {
    return <i64>this.u64();
  }

  f64(): f64 {
    return reinterpret<f64>(this.u64());
  }

  /** Empty if something was wrong. */
  bytes(): Uint8Array {
    return this.fixed(this.u32());
  }

  /** As many as are asked for; empty if there are fewer. */
  fixed(count: u32): Uint8Array {
    const from = this.take(count);
    const copy = new Uint8Array(from == 0 ? 0 : count);
    if (from != 0) memory.copy(copy.dataStart, from, count);
    return copy;
  }

  string(): string {
    const count = this.u32();
    const from = this.take(count);
    return from == 0 ? "" : String.UTF8.decodeUnsafe(from, count);
  }

  /** 0 if there are not as many. */
  private take(count: u32): usize {
    if (!this.ok) return 0;
    if (count > <u32>this.remaining) {
      this.fail("at byte " + this.read.toString() + " it wants " + count.toString() + " more, of " + this.remaining.toString());
      return 0;
    }
    const from = this.at + this.read;
    this.read += count;
    return from;
  }
}
