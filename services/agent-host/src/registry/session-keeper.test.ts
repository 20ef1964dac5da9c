import { Fault } from "@godwit/common/fault";
import { covers, remainingMs, type SignedBytes } from "@godwit/common/lease";
import { hostIdOf, signerFromSeed } from "@godwit/lineage";
import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { FakeSessions } from "../../test/support/fake-sessions.ts";
import { signOpening } from "./grpc-sessions.ts";
import type { Answer, Carried, ShownItem } from "./ports.ts";
import { signReassertion } from "./reassertion.ts";
import { SessionKeeper } from "./session-keeper.ts";

const signer = signerFromSeed(new Uint8Array(32).fill(1));
const hostId = hostIdOf(signer.publicKey);
const agentId = (digit: string) => digit.repeat(64);

/** What a host's disk remembers. */
class Memory {
  readonly boots: string[] = [];
  mark: SignedBytes | undefined;
  saves = 0;
  key: Uint8Array | undefined;
  recordSession = async (bootId: string) => void this.boots.push(bootId);
  newestMark = () => this.mark;
  saveMark = async (mark: SignedBytes) => {
    this.mark = mark;
    this.saves++;
  };
  registryKey = () => this.key;
  pinRegistryKey = async (key: Uint8Array) => {
    this.key = key;
  };
}

class Cargo implements Carried {
  readonly agentId: string;
  readonly answers: (Answer | undefined)[] = [];
  asked = 0;
  /** GA-8 allows it. */
  may = true;

  constructor(id: string) {
    this.agentId = id;
  }

  item(): ShownItem | undefined {
    this.asked++;
    if (!this.may) return undefined;
    const termination = { payload: new Uint8Array(1), signature: new Uint8Array(64) };
    return { kind: "termination", agentId: this.agentId, termination };
  }

  answered(_session: unknown, answer: Answer | undefined): void {
    this.answers.push(answer);
  }
}

class Place {
  readonly clock = new FakeClock();
  readonly registry = new FakeSessions();
  readonly memory: Memory;
  readonly events: string[] = [];
  readonly keeper: SessionKeeper;
  readonly #finished = new AbortController();
  batches: Cargo[][] = [];

  constructor(memory = new Memory()) {
    this.memory = memory;
    let ids = 0;
    const batches = () => this.batches;
    this.keeper = new SessionKeeper(
      {
        sessions: this.registry,
        signOpening: (opening) => signOpening(opening, signer),
        signReassertion: (claim) => signReassertion(claim, signer),
        async *carried() {
          yield* batches();
        },
        memory,
        clock: this.clock,
        random: () => 0,
        entropy: { uuid: () => `boot-${memory.boots.length + ++ids}`, bytes: (count) => new Uint8Array(count) },
        logger: pino({ level: "silent" }),
      },
      { hostId, callTimeoutMs: 3_000, maxReopenDelayMs: 1_000 },
    );
    for (const event of ["opened", "void", "live", "brought-over", "settled"] as const) {
      this.keeper.on(event, () => this.events.push(event));
    }
    onTestFinished(async () => {
      this.registry.reachable = true;
      this.#finished.abort(new Error("the test is over"));
      await this.clock.run(this.keeper.stop());
    });
  }

  static async open(memory = new Memory()): Promise<Place> {
    const place = new Place(memory);
    await place.keeper.start();
    await place.pass(50);
    expect(place.events).toEqual(["opened"]);
    place.events.splice(0);
    return place;
  }

  async idle(): Promise<void> {
    await this.clock.untilSleeping(1, this.#finished.signal);
  }

  /** So much time in short steps: the loop does what it does meanwhile. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      await this.idle();
      await this.clock.advance(50);
    }
    await this.idle();
  }

  get bootId(): string | undefined {
    return this.keeper.current?.id.bootId;
  }

  /** Whether a grant of that incarnation lets its agent tick now. */
  covers(incarnation: string): boolean {
    return covers(this.keeper.lease, { incarnation }, this.keeper.reading());
  }
}

const second = "incarnation-2";

describe("a store that forgets", () => {
  test("GA-7: in quarantine the session is brought over, with its boot id; its lease lends nothing to grants from before", async () => {
    const place = await Place.open();
    const { bootId } = place;
    await place.pass(3_100);
    expect(place.keeper.generation).toBe(1n);
    place.registry.forget(second, 100n);
    expect(place.covers("incarnation-1")).toBe(true); // GA-1: until the deadline, and until it hears of it
    await place.pass(3_000);
    expect(place.events).toEqual(["brought-over"]);
    expect(place.bootId).toBe(bootId);
    expect(place.registry.reasserted).toEqual([
      { bootId, incarnation: second, from: "incarnation-1", generation: 1n, items: [] },
    ]);
    expect(place.keeper.generation).toBe(2n);
    expect(place.keeper.current).toMatchObject({ incarnation: second, counter: 100n });
    expect(place.covers("incarnation-1")).toBe(false);
    expect(place.covers(second)).toBe(true);
    expect(place.keeper.trouble).toContain("quarantine");
    await place.pass(10_000);
    place.registry.endQuarantine();
    await place.pass(3_000);
    expect(place.events).toEqual(["brought-over", "settled"]);
    expect(place.keeper.trouble).toBeUndefined();
  });

  test("GA-7: a host that hears of another incarnation with something else asks at once", async () => {
    const place = await Place.open();
    place.registry.forget(second, 100n);
    await place.pass(100);
    expect(place.events).toEqual([]);
    place.keeper.suspect();
    await place.pass(100);
    expect(place.events).toEqual(["brought-over"]);
  });

  test("GA-8: whose deadline passed since the last renewal under the old incarnation opens a new session at once, in quarantine", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.reachable = false;
    await place.pass(10_000);
    expect(remainingMs(place.keeper.lease, place.keeper.reading())).toBe(0);
    place.registry.forget(second, 100n);
    place.registry.reachable = true;
    await place.pass(1_500);
    expect(place.events).toEqual(["void", "opened"]);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.bootId).not.toBe(bootId);
    expect(place.covers(second)).toBe(true);
  });

  test("GA-8: a deadline that passed and was renewed under the old incarnation does not count any more", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.reachable = false;
    await place.pass(10_500);
    place.registry.reachable = true;
    await place.pass(1_500);
    expect(place.events).toEqual(["live"]);
    place.registry.forget(second, 100n);
    await place.pass(3_500);
    expect(place.events).toEqual(["live", "brought-over"]);
    expect(place.bootId).toBe(bootId);
  });

  test("GA-8: a suspended machine is one whose deadline passed", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.forget(second, 100n);
    place.clock.jumpWall(60_000);
    await place.pass(3_500);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.bootId).not.toBe(bootId);
  });

  test("GA-8: a deadline that was seen to pass has passed, also when the clocks come together again", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.reachable = false;
    await place.pass(3_500);
    place.clock.jumpWall(60_000);
    await place.pass(1_500);
    place.clock.jumpWall(-60_000);
    expect(remainingMs(place.keeper.lease, place.keeper.reading())).toBeGreaterThan(0);
    place.registry.forget(second, 100n);
    place.registry.reachable = true;
    await place.pass(1_500);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.bootId).not.toBe(bootId);
  });

  test("GA-8: what is not answered is sent again until the deadline, and then never again", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.forget(second, 100n);
    place.registry.disturb("reassert", ...Array.from({ length: 100 }, () => "lost-before" as const));
    await place.pass(9_500);
    expect(place.events).toEqual([]);
    expect(place.covers("incarnation-1")).toBe(true);
    await place.pass(2_000);
    expect(place.covers("incarnation-1")).toBe(false);
    expect(place.events).toEqual(["void", "opened"]);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.bootId).not.toBe(bootId);
  });

  test("GA-7: a reassert whose answer was lost is sent again, and the generation goes on", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.forget(second, 100n);
    place.registry.disturb("reassert", "lost-after");
    await place.pass(4_500);
    expect(place.bootId).toBe(bootId);
    expect(place.registry.reasserted).toHaveLength(2);
    expect(place.keeper.generation).toBe(2n);
    expect(place.events).toEqual(["brought-over"]);
  });

  test("GA-8: when the quarantine is over nothing is brought over: a new session", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.forget(second, 100n);
    place.registry.endQuarantine();
    await place.pass(3_500);
    expect(place.events).toEqual(["void", "opened"]);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.bootId).not.toBe(bootId);
  });

  test("SL-2: a session that was closed under the new incarnation is not brought back", async () => {
    const place = await Place.open();
    const { bootId } = place;
    place.registry.forget(second, 100n);
    place.registry.disturb("reassert", new Fault({ code: "SESSION_VOID", hostId }));
    await place.pass(3_500);
    expect(place.events).toEqual(["void", "opened"]);
    expect(place.bootId).not.toBe(bootId);
  });

  test("GA-7: agents follow in batches, and each hears what was said of it", async () => {
    const place = await Place.open();
    const [one, two, three] = [new Cargo(agentId("1")), new Cargo(agentId("2")), new Cargo(agentId("3"))];
    two.may = false;
    place.batches = [[one, two], [three]];
    const answer: Answer = { kind: "refused", code: "NOT_OWNER", record: undefined };
    place.registry.onItem = () => answer;
    place.registry.forget(second, 100n);
    await place.pass(3_500);
    expect(place.registry.reasserted.map(({ items }) => items.map((item) => item.agentId))).toEqual([
      [],
      [agentId("1")],
      [agentId("3")],
    ]);
    expect(one.answers).toEqual([answer]);
    expect(two.answers).toEqual([undefined]);
    expect(three.answers).toEqual([answer]);
  });

  test("GA-8: whether an agent may be shown is asked before each sending", async () => {
    const place = await Place.open();
    const cargo = new Cargo(agentId("1"));
    place.batches = [[cargo]];
    place.registry.forget(second, 100n);
    let reasserts = 0;
    place.registry.onArrival = (call) => {
      if (call !== "reassert" || ++reasserts !== 2) return;
      cargo.may = false; // it was given up while its answer was under way
      throw new Fault({ code: "REGISTRY_UNAVAILABLE", reason: "no answer" });
    };
    await place.pass(4_500);
    expect(cargo.asked).toBe(2);
    expect(cargo.answers).toEqual([undefined]);
    expect(place.registry.reasserted.map(({ items }) => items.length)).toEqual([0]);
  });

  test("GA-8: a deadline that passes between two batches ends the bringing back, and keeps the session", async () => {
    const place = await Place.open();
    const { bootId } = place;
    const cargo = new Cargo(agentId("1"));
    place.batches = [[cargo]];
    place.registry.forget(second, 100n);
    let reasserts = 0;
    place.registry.onArrival = (call) => {
      if (call === "reassert" && ++reasserts === 1)
        place.registry.disturb("reassert", ...Array.from({ length: 99 }, () => "lost-before" as const));
    };
    await place.pass(3_500);
    expect(place.events).toEqual(["brought-over"]);
    await place.pass(10_500);
    expect(cargo.answers).toEqual([undefined]);
    await place.pass(3_500);
    expect(place.bootId).toBe(bootId);
    expect(place.covers(second)).toBe(true);
  });

  test("GA-8: a quarantine that ends between two batches leaves the rest behind", async () => {
    const place = await Place.open();
    const cargo = new Cargo(agentId("1"));
    place.batches = [[cargo]];
    place.registry.forget(second, 100n);
    let reasserts = 0;
    place.registry.onArrival = (call) => {
      if (call === "reassert" && ++reasserts === 2) place.registry.endQuarantine();
    };
    await place.pass(3_500);
    expect(cargo.answers).toEqual([undefined]);
    expect(place.covers(second)).toBe(true);
  });

  test("GA-8: of two losses only the second is brought over from, with the incarnation in between named", async () => {
    const place = await Place.open();
    place.registry.forget(second, 100n);
    await place.pass(3_500);
    place.registry.forget("incarnation-3", 200n);
    await place.pass(3_500);
    expect(place.registry.reasserted.map(({ from, incarnation }) => [from, incarnation])).toEqual([
      ["incarnation-1", second],
      [second, "incarnation-3"],
    ]);
    expect(place.keeper.lease).toMatchObject({ incarnation: "incarnation-3", from: second });
  });
});

describe("marks", () => {
  test("GA-6: the newest mark is on the disk and shown with every opening, renewal and reassert", async () => {
    const place = await Place.open();
    await place.pass(3_100);
    place.registry.forget(second, 100n);
    await place.pass(3_100);
    await place.pass(3_100);
    const { shown } = place.registry;
    expect(shown.slice(0, 2)).toEqual([
      ["open", 0n],
      ["renew", 0n],
    ]);
    expect(shown).toContainEqual(["reassert", 100n]);
    expect(shown.at(-1)).toEqual(["renew", 100n]);
    expect(place.memory.saves).toBe(2);

    const next = new Place(place.memory);
    next.registry.mark = place.registry.mark;
    await next.keeper.start();
    await next.pass(50);
    expect(next.registry.shown[0]).toEqual(["open", 100n]);
  });

  test("GA-6: a lower counter is not taken: the registry is shown the newer one, and its answers count for nothing", async () => {
    const place = await Place.open();
    place.registry.forget(second, 100n);
    await place.pass(3_500);
    const now = place.keeper.lease;
    place.registry.mark = { ...place.registry.mark, incarnation: "incarnation-1", counter: 0n, quarantine: false };
    await place.pass(3_500);
    expect(place.keeper.lease).toEqual(now);
    expect(place.memory.mark).toEqual(
      place.registry.signedMark({ ...place.registry.mark, incarnation: second, counter: 100n, quarantine: true }),
    );
    await place.pass(12_000);
    expect(place.covers(second)).toBe(false);
    expect(place.covers("incarnation-1")).toBe(false);
    expect(place.registry.shown.at(-1)).toEqual(["renew", 100n]);
  });

  test("GA-6: of two marks with one counter none is the newest", async () => {
    const place = await Place.open();
    place.registry.forget(second, 0n);
    await place.pass(3_500);
    expect(place.events).toEqual([]);
    expect(place.registry.reasserted).toEqual([]);
    expect(place.memory.saves).toBe(1);
  });

  test("GA-6: a restarted host that meets an older mark shows its own, and works only under what comes of that", async () => {
    const memory = (await Place.open()).memory;
    const before = new FakeSessions();
    memory.mark = before.signedMark({ ...before.mark, incarnation: second, counter: 100n });
    const place = new Place(memory);
    await place.keeper.start();
    await place.pass(50);
    expect(place.registry.shown).toContainEqual(["open", 100n]);
    expect(place.keeper.current).toBeUndefined();
    place.registry.forget("incarnation-3", 101n); // what a registry does that is shown it
    await place.pass(2_000);
    expect(place.keeper.current).toMatchObject({ incarnation: "incarnation-3", counter: 101n });
  });

  test("GA-6: an answer whose mark the pinned key has not signed counts for nothing", async () => {
    const place = await Place.open();
    const now = place.keeper.lease;
    place.registry.markSigner = signerFromSeed(new Uint8Array(32).fill(9));
    await place.pass(3_500);
    expect(place.keeper.lease).toEqual(now);
    place.registry.forget(second, 100n);
    await place.pass(3_500);
    expect(place.memory.saves).toBe(1);
    expect(place.registry.reasserted).toEqual([]);
  });

  test("GA-6: a mark that another key has signed counts for nothing", async () => {
    const place = await Place.open();
    place.registry.forget(second, 100n);
    place.registry.signer = signerFromSeed(new Uint8Array(32).fill(9));
    const { key } = place.memory;
    place.registry.onArrival = () => {};
    await place.pass(3_500);
    expect(place.memory.saves).toBe(1);
    expect(place.memory.key).toEqual(key);
    expect(place.events).not.toContain("brought-over");
  });
});
