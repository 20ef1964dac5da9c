// An agent that does nothing but live: it counts its ticks, remembers when it was born and where it has been, and notices when it was away.
//
// A host has one price, so another price means another host.

import { clockNow, log, nodePrice, randBytes } from "./host";
import { address, magic, maxPlaces, State, stateBytes, version } from "./state";

const nsPerSecond: i64 = 1_000_000_000;
/** Ticks come every second; this much without one, and something happened. */
const gapNs: i64 = 3 * nsPerSecond;
const milestoneTicks: u64 = 10;

const state = new State();

export function agent_init(): void {
  state.clear();
}

export function agent_tick(): void {
  const nowNs = clockNow();
  const price = nodePrice();
  state.ticks += 1;
  if (state.ticks == 1) beBorn(nowNs, price);
  else {
    noticeGap(nowNs);
    noticeMove(price);
  }
  state.lastTickNs = nowNs;
  if (state.ticks % milestoneTicks == 0) reportMilestone(nowNs);
  __collect(); // nothing that was made in this tick is needed in the next
}

export function agent_checkpoint(): i32 {
  return stateBytes;
}

export function agent_checkpoint_ptr(): usize {
  return address();
}

export function malloc(size: i32): usize {
  return heap.alloc(size);
}

/** Ends in a trap if the state is not one of its own: better not to run than to run on a wrong memory. */
export function agent_resume(pointer: usize, length: i32): void {
  if (length == 0) return; // never ticked, never checkpointed
  if (length < 8 || load<u32>(pointer) != magic) refuse("this is no state of a survivor");
  const found = load<u32>(pointer, 4);
  if (found != version) {
    refuse("the state has version " + found.toString() + ", this survivor reads version " + version.toString());
  }
  if (length != stateBytes) {
    refuse("the state has " + length.toString() + " bytes, version 1 has " + stateBytes.toString());
  }
  if (load<u32>(pointer, 64) > maxPlaces) refuse("the state names more places than it can hold");
  memory.copy(address(), pointer, stateBytes);
  heap.free(pointer);
}

function beBorn(nowNs: i64, price: i64): void {
  state.bornNs = nowNs;
  randBytes(state.markAddress, 8);
  state.arrive(1, price);
  log("born at " + time(nowNs) + " on a host of price " + price.toString() + "; mark " + state.mark.toString(16));
}

function noticeGap(nowNs: i64): void {
  const awayNs = nowNs - state.lastTickNs;
  if (awayNs <= gapNs) return;
  state.gaps += 1;
  if (awayNs > state.longestGapNs) state.longestGapNs = awayNs;
  log(
    "gap of " + seconds(awayNs) + " before tick " + state.ticks.toString() +
    " (number " + state.gaps.toString() + ", longest " + seconds(state.longestGapNs) + ")"
  );
}

function noticeMove(price: i64): void {
  const before = state.price;
  if (price == before) return;
  state.moves += 1;
  state.arrive(state.ticks, price);
  log(
    "moved before tick " + state.ticks.toString() + ": price " + before.toString() + " -> " + price.toString() +
    " (move " + state.moves.toString() + ")"
  );
}

function reportMilestone(nowNs: i64): void {
  log(
    "tick " + state.ticks.toString() + ": " + seconds(nowNs - state.bornNs) + " old, " +
    state.moves.toString() + " moves, " + state.gaps.toString() + " gaps"
  );
}

function refuse(why: string): void {
  log(why);
  unreachable();
}

function time(ns: i64): string {
  return new Date(ns / 1_000_000).toISOString();
}

/** In tenths, which is as much as a person reads. */
function seconds(ns: i64): string {
  const tenths = ns / (nsPerSecond / 10);
  return (tenths / 10).toString() + "." + (abs(tenths) % 10).toString() + " s";
}
