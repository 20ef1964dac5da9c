// What a host offers, of which survivor uses this.

@external("godwit", "clock_now")
export declare function clockNow(): i64;

@external("godwit", "rand_bytes")
export declare function randBytes(pointer: usize, length: i32): i32;

@external("godwit", "log_emit")
declare function logEmit(pointer: usize, length: i32): void;

@external("godwit", "node_price")
export declare function nodePrice(): i64;

export function log(message: string): void {
  const bytes = String.UTF8.encode(message);
  logEmit(changetype<usize>(bytes), bytes.byteLength);
}
