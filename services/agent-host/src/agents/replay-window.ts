// What a host keeps of an agent's last ticks, so that they can be run again: by itself, and by the next host.
//
// W-1  It begins at a checkpoint, which is signed; so whoever replays it knows the state to begin with, and every state that it leads to.
// W-2  Each tick that was committed here since is in it, also one that asked its host nothing. One that was thrown away is not.
// W-3  It is bounded: the oldest goes while the rest still has the ticks that were asked for, or where states and logs take too much room.
//      What waits to be run again waits within a bound as well: a host whose replays fall behind must not fill up with what they wait for.
//      What was handed out for a migration stays until that is over, since its end is joined to it.

import { type Checkpoint, digestOf } from "@godwit/lineage";
import type { ReplayRecord } from "@godwit/migration";
import { encodeEventLog, type RecordedTick } from "@godwit/sandbox";

export interface ReplayWindowRules {
  /** `--replay-window`: ticks that are kept at least, as soon as there were so many. */
  readonly ticks: number;
  /** States and logs together; one segment stays in any case. */
  readonly maxBytes: number;
  /** This host runs all of them again, so that what it has not run again stays, as long as there is room and it does not fall far behind. */
  readonly untilVerified: boolean;
}

/** From here on a checkpoint is due, so that the ticks up to it can be replayed in one go. */
const mostOpenTicks = 1_024;
const mostOpenBytes = 128 * 1024;

/** So many segments wait to be run again; the oldest of more goes without. They cost far more than their bytes. */
const mostUnverified = 16;

/** The ticks from one checkpoint to the next. */
export interface Segment {
  readonly from: Checkpoint;
  readonly to: Checkpoint;
  readonly ticks: readonly RecordedTick[];
  readonly log: Uint8Array;
}

export class ReplayWindow {
  readonly #rules: ReplayWindowRules;
  #segments: Segment[] = [];
  #newest: Checkpoint;
  #open: RecordedTick[] = [];
  #openBytes = 0;
  /** Up to here all was run again; its own beginning at first. */
  #verified: Checkpoint;
  #wasVerified = false;
  #pinned: Checkpoint | undefined;

  constructor(rules: ReplayWindowRules, beginning: Checkpoint) {
    this.#rules = rules;
    this.#newest = beginning;
    this.#verified = beginning;
  }

  /** W-2 */
  ticked(tick: RecordedTick): void {
    this.#open.push(tick);
    this.#openBytes += tick.events.length;
  }

  get isFull(): boolean {
    return this.#open.length >= mostOpenTicks || this.#openBytes >= mostOpenBytes;
  }

  /** Of the ticks since the newest checkpoint: what the next one's header names, and takes along. */
  get openLog(): Uint8Array {
    return encodeEventLog(this.#open);
  }

  /** `log`: the open one, which `to` names by its digest. */
  committed(to: Checkpoint, log: Uint8Array): void {
    if (to.header.eventsDigest !== digestOf(log)) throw new TypeError("the checkpoint names another event log");
    this.#segments.push({ from: this.#newest, to, ticks: this.#open, log });
    this.#newest = to;
    this.#open = [];
    this.#openBytes = 0;
    this.#trim();
  }

  /** What of it has not been run again, oldest first. */
  get unverified(): readonly Segment[] {
    const at = this.#segments.findIndex(({ from }) => from === this.#verified);
    return at === -1 ? [] : this.#segments.slice(at);
  }

  /** Up to which all since its beginning was run again; 0 before anything was. */
  get verifiedTick(): bigint {
    return this.#wasVerified ? this.#verified.header.tick : 0n;
  }

  /** Ticks in what was not run again. */
  get unverifiedTicks(): number {
    return this.unverified.reduce((sum, { ticks }) => sum + ticks.length, 0);
  }

  verified({ to }: Segment): void {
    if (to.header.tick > this.#verified.header.tick) this.#verified = to;
    this.#wasVerified = true;
    this.#trim();
  }

  /** What came out differently has been told, and is behind us: it begins anew at the newest checkpoint. */
  beginAnew(): void {
    this.#segments = [];
    this.#verified = this.#newest;
    this.#pinned = undefined;
  }

  /** All of it up to the newest checkpoint, for a target; it stays until `release`. */
  record(): ReplayRecord {
    this.#pinned = this.#newest;
    const first = this.#segments[0]?.from ?? this.#newest;
    return {
      headers: [first.signed, ...this.#segments.map(({ to }) => to.signed)],
      state: first.state,
      eventLogs: this.#segments.map(({ log }) => log),
    };
  }

  /** What came since `record`, up to the newest checkpoint, whose header is not in it. */
  tail(): ReplayRecord {
    const at = this.#segments.findIndex(({ from }) => from === this.#pinned);
    const since = at === -1 ? [] : this.#segments.slice(at);
    return {
      headers: since.slice(0, -1).map(({ to }) => to.signed),
      state: new Uint8Array(0),
      eventLogs: since.map(({ log }) => log),
    };
  }

  release(): void {
    this.#pinned = undefined;
    this.#trim();
  }

  #trim(): void {
    let ticks = this.#segments.reduce((sum, segment) => sum + segment.ticks.length, 0);
    let bytes = this.#segments.reduce((sum, segment) => sum + bytesOf(segment), 0);
    for (;;) {
      const [oldest] = this.#segments;
      if (oldest === undefined || this.#segments.length === 1 || oldest.from === this.#pinned) return; // W-3
      const awaited =
        this.#rules.untilVerified && oldest.from === this.#verified && this.#segments.length <= mostUnverified;
      const enough = ticks - oldest.ticks.length >= this.#rules.ticks && !awaited;
      if (!enough && bytes <= this.#rules.maxBytes) return;
      this.#segments.shift();
      ticks -= oldest.ticks.length;
      bytes -= bytesOf(oldest);
      if (this.#verified === oldest.from) this.#verified = oldest.to;
    }
  }
}

function bytesOf({ from, log }: Segment): number {
  return from.state.length + log.length;
}
