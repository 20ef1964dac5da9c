// The state as it stands in memory, which is also its form in checkpoints: see README.md. Little endian, of fixed size, so that a checkpoint
// is a mere copy and any program can read it.

export const magic: u32 = 0x56525553; // "SURV"
export const version: u32 = 1;
export const maxPlaces: u32 = 16;

const placesAt: usize = 72;
const placeBytes: usize = 16;
export const stateBytes: i32 = <i32>(placesAt + <usize>maxPlaces * placeBytes);

const memoryOfState = new StaticArray<u8>(stateBytes);

// @ts-ignore: decorator
@inline
export function address(): usize {
  return changetype<usize>(memoryOfState);
}

export class State {
  get ticks(): u64 {
    return load<u64>(address(), 8);
  }
  set ticks(value: u64) {
    store<u64>(address(), value, 8);
  }

  get bornNs(): i64 {
    return load<i64>(address(), 16);
  }
  set bornNs(value: i64) {
    store<i64>(address(), value, 16);
  }

  get lastTickNs(): i64 {
    return load<i64>(address(), 24);
  }
  set lastTickNs(value: i64) {
    store<i64>(address(), value, 24);
  }

  get gaps(): u64 {
    return load<u64>(address(), 32);
  }
  set gaps(value: u64) {
    store<u64>(address(), value, 32);
  }

  get longestGapNs(): i64 {
    return load<i64>(address(), 40);
  }
  set longestGapNs(value: i64) {
    store<i64>(address(), value, 40);
  }

  get moves(): u64 {
    return load<u64>(address(), 48);
  }
  set moves(value: u64) {
    store<u64>(address(), value, 48);
  }

  /** Eight random bytes of its first tick, by which two survivors can be told apart. */
  get mark(): u64 {
    return load<u64>(address(), 56);
  }
  get markAddress(): usize {
    return address() + 56;
  }

  get places(): u32 {
    return load<u32>(address(), 64);
  }

  /** Price of the host that it is on, as of the last tick. */
  get price(): i64 {
    return load<i64>(this.place(this.places - 1), 8);
  }

  /** Adds to the places where it has been; of more than 16 the oldest is forgotten. */
  arrive(tick: u64, price: i64): void {
    let count = this.places;
    if (count == maxPlaces) {
      memory.copy(this.place(0), this.place(1), <usize>(maxPlaces - 1) * placeBytes);
      count--;
    }
    store<u64>(this.place(count), tick);
    store<i64>(this.place(count), price, 8);
    store<u32>(address(), count + 1, 64);
  }

  clear(): void {
    memory.fill(address(), 0, stateBytes);
    store<u32>(address(), magic);
    store<u32>(address(), version, 4);
  }

  private place(index: u32): usize {
    return address() + placesAt + <usize>index * placeBytes;
  }
}
