import { type Checkpoint, digestOf } from "@godwit/lineage";
import { ada, createAgent, next } from "@godwit/lineage/testing";
import { decodeEventLog, encodeEventLog, type RecordedTick } from "@godwit/sandbox";
import { describe, expect, test } from "vitest";
import { ReplayWindow, type ReplayWindowRules } from "./replay-window.ts";

const rules: ReplayWindowRules = { ticks: 4, maxBytes: 1_000_000, untilVerified: false };

/** A window whose agent ticks, and gets a checkpoint now and then. */
class Life {
  readonly window: ReplayWindow;
  latest: Checkpoint = createAgent(ada);
  tick = 0n;

  constructor(changes: Partial<ReplayWindowRules> = {}) {
    this.window = new ReplayWindow({ ...rules, ...changes }, this.latest);
  }

  ticks(count: number, events = new Uint8Array(0)): this {
    for (let made = 0; made < count; made++) this.window.ticked({ tick: ++this.tick, events });
    return this;
  }

  checkpoint(): this {
    const log = this.window.openLog;
    const ticks = this.tick - this.latest.header.tick;
    this.latest = next(this.latest, { host: ada, ticks, header: { eventsDigest: digestOf(log) } });
    this.window.committed(this.latest, log);
    return this;
  }
}

const ticksOf = (logs: readonly Uint8Array[]) => logs.map((log) => decodeEventLog(log).map(({ tick }) => Number(tick)));

describe("the window of an agent", () => {
  test("W-1: begins at a signed checkpoint, and each event log leads to the next one", () => {
    const life = new Life({ ticks: 100 });
    const first = life.latest;
    const record = life.ticks(2).checkpoint().ticks(3).checkpoint().window.record();
    expect(record.headers[0]).toBe(first.signed);
    expect(record.headers.at(-1)).toBe(life.latest.signed);
    expect(digestOf(record.state)).toBe(first.header.stateDigest);
    expect(ticksOf(record.eventLogs)).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
  });

  test("W-1: takes no event log that the checkpoint does not name", () => {
    const life = new Life().ticks(1);
    const other = next(life.latest, { host: ada, ticks: 1n });
    expect(() => life.window.committed(other, life.window.openLog)).toThrow("another event log");
  });

  test("W-2, T-47: has each tick, one without a call too", () => {
    const called: RecordedTick = { tick: 1n, events: Uint8Array.of(1, 0, 0) };
    const life = new Life();
    life.window.ticked(called);
    life.tick = 1n;
    life.ticks(2);
    expect(life.window.openLog).toEqual(
      encodeEventLog([called, { tick: 2n, events: new Uint8Array(0) }, { tick: 3n, events: new Uint8Array(0) }]),
    );
  });

  test("W-3: the oldest goes while the rest still has as many ticks as were asked for", () => {
    const life = new Life();
    for (let i = 0; i < 5; i++) life.ticks(2).checkpoint();
    expect(ticksOf(life.window.record().eventLogs)).toEqual([
      [7, 8],
      [9, 10],
    ]);
  });

  test("W-3: the oldest goes where there is no room, whatever was asked for, but for the last", () => {
    const life = new Life({ ticks: 100, maxBytes: 10 });
    for (let i = 0; i < 3; i++) life.ticks(2, new Uint8Array(20)).checkpoint();
    expect(life.window.record().eventLogs).toHaveLength(1);
  });

  test("W-3: what was not run again stays, where it will be", () => {
    const life = new Life({ ticks: 2, untilVerified: true });
    for (let i = 0; i < 4; i++) life.ticks(2).checkpoint();
    expect(life.window.unverifiedTicks).toBe(8);
    for (const segment of life.window.unverified) life.window.verified(segment);
    expect([life.window.unverifiedTicks, life.window.verifiedTick]).toEqual([0, 8n]);
    expect(ticksOf(life.window.record().eventLogs)).toEqual([[7, 8]]);
  });

  test("W-3: a host that falls far behind with what it runs again lets the oldest go", () => {
    const life = new Life({ ticks: 2, untilVerified: true });
    for (let i = 0; i < 40; i++) life.ticks(2).checkpoint();
    expect(life.window.unverified).toHaveLength(16);
    expect(life.window.unverified.at(-1)?.to).toBe(life.latest);
  });

  test("W-3: what was handed out stays until it is released, and the tail is joined to it", () => {
    const life = new Life({ ticks: 1 }).ticks(2).checkpoint();
    const handedOut = life.window.record();
    for (let i = 0; i < 3; i++) life.ticks(1).checkpoint();
    const tail = life.window.tail();
    expect(ticksOf(tail.eventLogs)).toEqual([[3], [4], [5]]);
    expect(tail.headers).toHaveLength(2); // the frozen one's is not in it
    expect(handedOut.headers.at(-1)).not.toBe(tail.headers[0]);
    life.window.release();
    expect(life.window.record().eventLogs).toHaveLength(1);
  });

  test("is full when the ticks since the checkpoint are too many, or were told too much", () => {
    expect(new Life().ticks(1_023).window.isFull).toBe(false);
    expect(new Life().ticks(1_024).window.isFull).toBe(true);
    expect(new Life().ticks(2, new Uint8Array(65_536)).window.isFull).toBe(true);
  });

  test("begins anew at the newest checkpoint after a divergence, with what was ticked since", () => {
    const life = new Life().ticks(2).checkpoint().ticks(1);
    life.window.beginAnew();
    expect(life.window.unverified).toEqual([]);
    life.checkpoint();
    expect(ticksOf(life.window.record().eventLogs)).toEqual([[3]]);
  });

  test("says what was run again only once something was", () => {
    const life = new Life().ticks(2).checkpoint();
    expect(life.window.verifiedTick).toBe(0n);
  });
});
