// Where it has been: of each place the first tick there and the price, of the newest 16. In a state there is room for all of them,
// taken or not, so that states have one size.

import { Decoder, Encoder } from "@godwit/agent-sdk/assembly";

const maxPlaces: i32 = 16;

export class Places {
  private readonly ticks: StaticArray<u64> = new StaticArray<u64>(maxPlaces);
  private readonly prices: StaticArray<i64> = new StaticArray<i64>(maxPlaces);
  private count: i32 = 0;

  /** Of where it is, as of the last tick; 0 in a state that names no place. */
  get price(): i64 {
    return this.count == 0 ? 0 : this.prices[this.count - 1];
  }

  /** Of more than 16 the oldest is forgotten. */
  arrive(tick: u64, price: i64): void {
    if (this.count == maxPlaces) this.forgetOldest();
    this.ticks[this.count] = tick;
    this.prices[this.count] = price;
    this.count++;
  }

  save(state: Encoder): void {
    state.i32(this.count);
    state.u32(0);
    for (let at = 0; at < maxPlaces; at++) {
      state.u64(this.ticks[at]);
      state.i64(this.prices[at]);
    }
  }

  load(state: Decoder): void {
    const count = state.u32();
    if (count > <u32>maxPlaces) state.fail("the state names more places than it can hold");
    state.u32();
    this.count = count;
    for (let at = 0; at < maxPlaces; at++) {
      this.ticks[at] = state.u64();
      this.prices[at] = state.i64();
    }
  }

  private forgetOldest(): void {
    this.count--;
    for (let at = 0; at < this.count; at++) {
      this.ticks[at] = this.ticks[at + 1];
      this.prices[at] = this.prices[at + 1];
    }
  }
}
