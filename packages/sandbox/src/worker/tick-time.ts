// The time that WASI shows. Within a tick it stands still, at the tick's beginning, and is recorded once: a runtime looks at the clock for its
// own sake (a garbage collector does), and how often it does depends on how long the instance has lived. Were each look recorded, an honest
// tick would be another one when it is run again in a fresh instance. Only a sleep moves it on.

import { wasiIds } from "../wasi-abi.ts";
import type { Tape } from "./tape.ts";

export class TickTime {
  readonly #tape: Tape;
  readonly #wallNs: () => bigint;
  #heldNs: bigint | undefined;

  constructor(tape: Tape, wallNs: () => bigint) {
    this.#tape = tape;
    this.#wallNs = wallNs;
  }

  /** At the beginning of a tick; it stays so for the checkpoint after it. */
  hold(): void {
    const tape = this.#tape;
    tape.begin(wasiIds.tick_time);
    this.#heldNs = tape.replaying ? tape.ended(tape.taken().result) : tape.given(this.#wallNs());
  }

  /** While an instance is made, before its first tick, it is the host's. */
  get nowNs(): bigint {
    return this.#heldNs ?? this.#wallNs();
  }

  sleep(ns: bigint): void {
    if (this.#heldNs !== undefined) this.#heldNs += ns;
  }
}
