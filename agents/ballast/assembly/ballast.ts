// Ticks as often as it may and carries a state of BALLAST_BYTES, of which each tick changes a few.
//
// BALLAST_BYTES is a constant that the build gives (see build.mjs).
// State, little endian: magic, size (u32 each), ticks (u64), then bytes that do not compress.

const magic: u32 = 0x54534c42; // "BLST"
const headerBytes: usize = 16;

const state = new StaticArray<u8>(BALLAST_BYTES);

export function agent_init(): void {
  const at = address();
  store<u32>(at, magic);
  store<u32>(at, BALLAST_BYTES, 4);
}

export function agent_tick(): i32 {
  const at = address();
  const ticks = load<u64>(at, 8) + 1;
  if (ticks == 1) fill(at); // not in agent_init, which also runs before a resume and would cost the benchmark its precision
  store<u64>(at, ticks, 8);
  const places: u64 = (<u64>BALLAST_BYTES - headerBytes) / 8;
  const place = <usize>(mixed(ticks) % places);
  store<u64>(at + headerBytes + place * 8, mixed(ticks ^ 0x9e3779b97f4a7c15));
  return 1;
}

export function agent_checkpoint(): i32 {
  return BALLAST_BYTES;
}

export function agent_checkpoint_ptr(): usize {
  return address();
}

export function malloc(size: i32): usize {
  return heap.alloc(size);
}

export function agent_resume(pointer: usize, length: i32): void {
  if (length != BALLAST_BYTES || load<u32>(pointer) != magic) unreachable();
  memory.copy(address(), pointer, length);
  heap.free(pointer);
}

// @ts-ignore: decorator
@inline
function address(): usize {
  return changetype<usize>(state);
}

function fill(at: usize): void {
  for (let offset: usize = headerBytes; offset < <usize>BALLAST_BYTES; offset += 8) store<u64>(at + offset, mixed(offset));
}

/** Spreads a number over 64 bits, the same way each time. */
function mixed(value: u64): u64 {
  let x = value + 0x632be59bd9b4e019;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
