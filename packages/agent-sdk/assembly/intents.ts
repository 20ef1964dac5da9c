// Things that an agent does to the world outside, each with a key by which the outside can tell that it was asked for before.
//
//   recorded -> begun -> confirmed        it has happened
//                     -> compensated      it has not, or was undone
//                     -> unresolved       nobody knows yet: ask with the key, then confirm, compensate or begin again
//
// IN-1  An intent is begun in a later tick than it is recorded in, so that a checkpoint lies between.
// IN-2  What is begun and not settled when a tick ends is unresolved. So what is found after a resume is what would have been found
//       without one: an agent cannot tell the two apart, and its ticks replay.
// IN-3  Keys are unique. A host makes its checkpoints every few seconds and not after each tick, and a crash takes back what came since.
//       So the key has to come out the same when those ticks run again: `deriveKey`. A random key is only right for what is begun long
//       after it is recorded.

import { Decoder } from "./decoder";
import { Encoder } from "./encoder";
import { randBytes } from "./host";
import { sha256 } from "./sha256";
import { formatBytes } from "./text";

export const enum IntentState {
  recorded = 0,
  begun = 1,
  unresolved = 2,
  confirmed = 3,
  compensated = 4,
}

const keyBytes: i32 = 16;

/** The same key for the same material: what is to be done, a number of it, and what tells this agent from its like. */
export function deriveKey(material: Uint8Array): Uint8Array {
  return sha256(material).slice(0, keyBytes);
}

/** Another one each time. Capability `rand`. */
export function randomKey(): Uint8Array {
  return randBytes(keyBytes);
}

export class Intent {
  private current: IntentState = IntentState.recorded;
  /** A checkpoint has it (IN-1). */
  private isKept: bool = false;

  /** `data`: what will be needed to do it, and to undo it. */
  constructor(
    readonly key: Uint8Array,
    readonly data: Uint8Array,
  ) {
    assert(key.length == keyBytes, "the key of an intent has 16 bytes");
  }

  /** One that a state of the agent's own layout holds. */
  static kept(key: Uint8Array, data: Uint8Array, state: IntentState): Intent {
    const intent = new Intent(key, data);
    intent.current = state;
    intent.keep();
    return intent;
  }

  get state(): IntentState {
    return this.current;
  }

  get isSettled(): bool {
    return this.current == IntentState.confirmed || this.current == IntentState.compensated;
  }

  /** Right before it is done. Also from unresolved, when it turned out that nothing has arrived. */
  begin(): void {
    if (!this.isKept) throw new Error(this.complaint("it was recorded in this very tick: begin it in a later one"));
    this.move(IntentState.begun, this.current == IntentState.recorded || this.current == IntentState.unresolved);
  }

  /** It has happened. */
  confirm(): void {
    this.move(IntentState.confirmed, this.isOpen);
  }

  /** It has not happened, was undone, or was never begun and is not wanted any more. */
  compensate(): void {
    this.move(IntentState.compensated, this.isOpen || this.current == IntentState.recorded);
  }

  /** The end of a tick, where its checkpoint is taken (IN-1, IN-2). `Intents.save` does this for those that it has. */
  keep(): void {
    this.isKept = true;
    if (this.current == IntentState.begun) this.current = IntentState.unresolved;
  }

  private get isOpen(): bool {
    return this.current == IntentState.begun || this.current == IntentState.unresolved;
  }

  private move(to: IntentState, isAllowed: bool): void {
    if (!isAllowed) throw new Error(this.complaint("from " + nameOf(this.current) + " it cannot become " + nameOf(to)));
    this.current = to;
  }

  private complaint(why: string): string {
    return "intent " + formatBytes(this.key) + ": " + why;
  }
}

/** The intents of an agent, in the order in which they were recorded. */
export class Intents {
  private all: Intent[] = [];

  get length(): i32 {
    return this.all.length;
  }

  /** Not before the next tick can it be begun. */
  record(key: Uint8Array, data: Uint8Array): Intent {
    if (this.find(key) != null) throw new Error("intent " + formatBytes(key) + " is recorded already");
    const intent = new Intent(key, data);
    this.all.push(intent);
    return intent;
  }

  find(key: Uint8Array): Intent | null {
    for (let at = 0; at < this.all.length; at++) if (isSame(this.all[at].key, key)) return this.all[at];
    return null;
  }

  in(state: IntentState): Intent[] {
    const found: Intent[] = [];
    for (let at = 0; at < this.all.length; at++) if (this.all[at].state == state) found.push(this.all[at]);
    return found;
  }

  /** Whose end is to be found out before anything else is begun. */
  unresolved(): Intent[] {
    return this.in(IntentState.unresolved);
  }

  /** What is settled is kept until then, so that nothing is recorded twice. */
  forgetSettled(): void {
    const open: Intent[] = [];
    for (let at = 0; at < this.all.length; at++) if (!this.all[at].isSettled) open.push(this.all[at]);
    this.all = open;
  }

  /** To be called from the agent's `save`. u32 count, and of each: u8 state, key and data with their lengths. */
  save(state: Encoder): void {
    state.u32(this.all.length);
    for (let at = 0; at < this.all.length; at++) {
      const intent = this.all[at];
      intent.keep();
      state.u8(<u8>intent.state);
      state.bytes(intent.key);
      state.bytes(intent.data);
    }
  }

  load(state: Decoder): void {
    const all: Intent[] = [];
    const count = state.u32();
    for (let at: u32 = 0; at < count && state.ok; at++) {
      const found = state.u8();
      const key = state.bytes();
      const data = state.bytes();
      if (!state.ok) break;
      if (found > <u8>IntentState.compensated) state.fail("an intent is in state " + found.toString() + ", which there is not");
      else if (key.length != keyBytes) state.fail("the key of an intent has " + key.length.toString() + " bytes");
      else all.push(Intent.kept(key, data, <IntentState>found));
    }
    this.all = all;
  }
}

function nameOf(state: IntentState): string {
  if (state == IntentState.recorded) return "recorded";
  if (state == IntentState.begun) return "begun";
  if (state == IntentState.unresolved) return "unresolved";
  return state == IntentState.confirmed ? "confirmed" : "compensated";
}

function isSame(a: Uint8Array, b: Uint8Array): bool {
  return a.length == b.length && memory.compare(a.dataStart, b.dataStart, a.length) == 0;
}
