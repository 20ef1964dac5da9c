// An agent that does nothing but live: it counts its ticks, remembers when it was born and where it has been, and notices when it was away.
//
// A host has one price, so another price means another host. The state is in README.md.

import {
  Agent,
  clockNow,
  Decoder,
  Encoder,
  formatSeconds,
  formatTime,
  log,
  nodePrice,
  randU64,
  register,
} from "@godwit/agent-sdk/assembly";
import { Places } from "./places";

export * from "@godwit/agent-sdk/assembly/exports";

/** Ticks come every second; this much without one, and something happened. */
const gapNs: i64 = 3_000_000_000;
const milestoneTicks: u64 = 10;

class Survivor extends Agent {
  private ticks: u64 = 0;
  private bornNs: i64 = 0;
  private lastTickNs: i64 = 0;
  private gaps: u64 = 0;
  private longestGapNs: i64 = 0;
  private moves: u64 = 0;
  /** Random bytes of its first tick, by which two survivors can be told apart. */
  private mark: u64 = 0;
  private places: Places = new Places();

  constructor() {
    super("survivor", "SURV", 1);
  }

  tick(): bool {
    const nowNs = clockNow();
    const price = nodePrice();
    this.ticks++;
    if (this.ticks == 1) this.beBorn(nowNs, price);
    else {
      this.noticeGap(nowNs);
      this.noticeMove(price);
    }
    this.lastTickNs = nowNs;
    if (this.ticks % milestoneTicks == 0) this.reportMilestone(nowNs);
    return false;
  }

  save(state: Encoder): void {
    state.u64(this.ticks);
    state.i64(this.bornNs);
    state.i64(this.lastTickNs);
    state.u64(this.gaps);
    state.i64(this.longestGapNs);
    state.u64(this.moves);
    state.u64(this.mark);
    this.places.save(state);
  }

  load(state: Decoder): void {
    this.ticks = state.u64();
    this.bornNs = state.i64();
    this.lastTickNs = state.i64();
    this.gaps = state.u64();
    this.longestGapNs = state.i64();
    this.moves = state.u64();
    this.mark = state.u64();
    this.places.load(state);
  }

  private beBorn(nowNs: i64, price: i64): void {
    this.bornNs = nowNs;
    this.mark = randU64();
    this.places.arrive(1, price);
    log("born at " + formatTime(nowNs) + " on a host of price " + price.toString() + "; mark " + this.mark.toString(16));
  }

  private noticeGap(nowNs: i64): void {
    const awayNs = nowNs - this.lastTickNs;
    if (awayNs <= gapNs) return;
    this.gaps++;
    if (awayNs > this.longestGapNs) this.longestGapNs = awayNs;
    log(
      "gap of " + formatSeconds(awayNs) + " before tick " + this.ticks.toString() +
      " (number " + this.gaps.toString() + ", longest " + formatSeconds(this.longestGapNs) + ")"
    );
  }

  private noticeMove(price: i64): void {
    const before = this.places.price;
    if (price == before) return;
    this.moves++;
    this.places.arrive(this.ticks, price);
    log(
      "moved before tick " + this.ticks.toString() + ": price " + before.toString() + " -> " + price.toString() +
      " (move " + this.moves.toString() + ")"
    );
  }

  private reportMilestone(nowNs: i64): void {
    log(
      "tick " + this.ticks.toString() + ": " + formatSeconds(nowNs - this.bornNs) + " old, " +
      this.moves.toString() + " moves, " + this.gaps.toString() + " gaps"
    );
  }
}

register(new Survivor());
