// Writes a state. Little endian, nothing aligned, nothing between the fields; bytes and texts have their length before them, as a u32.

const firstCapacity: i32 = 256;

export class Encoder {
  // Of what is collected, and moved by nothing: an encoder that nobody has any more takes no memory.
  private buffer: ArrayBuffer = new ArrayBuffer(firstCapacity);
  private size: i32 = 0;

  get length(): i32 {
    return this.size;
  }

  /** Where the bytes are, until more are written. */
  get address(): usize {
    return changetype<usize>(this.buffer);
  }

  clear(): void {
    this.size = 0;
  }

  u8(value: u8): void {
    store<u8>(this.room(1), value);
  }

  bool(value: bool): void {
    store<u8>(this.room(1), value ? 1 : 0);
  }

  u32(value: u32): void {
    store<u32>(this.room(4), value);
  }

  i32(value: i32): void {
    store<i32>(this.room(4), value);
  }

  u64(value: u64): void {
    store<u64>(this.room(8), value);
  }

  i64(value: i64): void {
    store<i64>(this.room(8), value);
  }

  f64(value: f64): void {
    store<f64>(this.room(8), value);
  }

  /** With their length before them. */
  bytes(value: Uint8Array): void {
    this.u32(value.length);
    this.fixed(value);
  }

  /** As they are: the decoder has to know how many there are. */
  fixed(value: Uint8Array): void {
    memory.copy(this.room(value.length), value.dataStart, value.length);
  }

  string(value: string): void {
    this.bytes(Uint8Array.wrap(String.UTF8.encode(value)));
  }

  /** A copy. */
  toBytes(): Uint8Array {
    const copy = new Uint8Array(this.size);
    memory.copy(copy.dataStart, this.address, this.size);
    return copy;
  }

  private room(bytes: i32): usize {
    const from = this.size;
    const needed = from + bytes;
    assert(needed >= from, "a state of more than 2 GiB");
    if (needed > this.buffer.byteLength) {
      const larger = new ArrayBuffer(max(needed, this.buffer.byteLength << 1));
      memory.copy(changetype<usize>(larger), this.address, from);
      this.buffer = larger;
    }
    this.size = needed;
    return this.address + from;
  }
}
