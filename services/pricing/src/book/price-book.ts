import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type BookedPrice, type PriceAnswer, type PriceCursor, type PriceStatement, unixNs } from "./price.ts";
import type { PriceStore, PriceWrite } from "./price-store.ts";
import { takeAnswer, takeStatement } from "./rules.ts";

export interface PriceBookParts {
  readonly store: PriceStore;
  readonly clock: Clock;
}

export interface PriceBookRules {
  /** Anybody can make a host id; the book does not grow without end. */
  readonly maxHosts: number;
}

/** What became of the answers of a scan. */
export interface Recorded {
  readonly taken: number;
  readonly changed: number;
  /** From another address than the host has signed, overtaken by what was heard later, or for a full book. */
  readonly notTaken: number;
}

/** The prices of all hosts that have said one. */
export class PriceBook {
  readonly #store: PriceStore;
  readonly #clock: Clock;
  readonly #maxHosts: number;
  /** When a host was last heard, on our monotonic clock (PB-5). Forgotten by a restart, as are the scans that run. */
  readonly #heardAtMs = new Map<string, number>();

  constructor({ store, clock }: PriceBookParts, { maxHosts }: PriceBookRules) {
    this.#store = store;
    this.#clock = clock;
    this.#maxHosts = maxHosts;
  }

  /** Throws Fault HOST_UNKNOWN. */
  get(hostId: string): BookedPrice {
    const price = this.#store.get(hostId);
    if (price === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId });
    return price;
  }

  /** Undefined for a host that the book does not have. */
  addressOf(hostId: string): string | undefined {
    return this.#store.get(hostId)?.grpcAddress;
  }

  /** Cheapest first, then by host id. */
  list(after: PriceCursor | undefined, limit: number): readonly BookedPrice[] {
    return this.#store.list(after, limit);
  }

  /** Newest first, one entry for each change. Throws Fault HOST_UNKNOWN. */
  history(hostId: string, limit: number): readonly BookedPrice[] {
    this.get(hostId);
    return this.#store.history(hostId, limit);
  }

  count(): number {
    return this.#store.count();
  }

  /**
   * Takes what a host has signed. Faults: INVALID_ARGUMENT for a statement that is not newer than the one known, or from the future;
   * RESOURCE_LIMIT when the book is full; DISK_FAILED.
   */
  report(statement: PriceStatement): "changed" | "unchanged" {
    const known = this.#store.get(statement.hostId);
    const taking = takeStatement(known, statement, unixNs(this.#clock.now()));
    switch (taking.kind) {
      case "same":
        return "unchanged";
      case "stale": {
        const reason = `not newer than the statement of ${iso(taking.knownAtUnixNs)} that is known: state it again with a later time`;
        throw new Fault({ code: "INVALID_ARGUMENT", field: "statement.stated_at_unix_ns", reason });
      }
      case "ahead": {
        const reason = `${iso(statement.statedAtUnixNs)} is more than an hour from now: set the host's clock`;
        throw new Fault({ code: "INVALID_ARGUMENT", field: "statement.stated_at_unix_ns", reason });
      }
      case "elsewhere":
        throw new Error("a statement brings its own address");
      case "taken":
        if (known === undefined && this.#full()) {
          throw new Fault({ code: "RESOURCE_LIMIT", what: "the number of hosts in the book", limit: this.#maxHosts });
        }
        this.#store.write([taking]);
        this.#heardAtMs.set(statement.hostId, this.#clock.monotonicMs());
        return taking.changed ? "changed" : "unchanged";
    }
  }

  /** Takes what hosts have answered, in one write. Faults: DISK_FAILED, and then nothing of it is taken. */
  record(answers: readonly PriceAnswer[]): Recorded {
    const writes: PriceWrite[] = [];
    const taken: PriceAnswer[] = [];
    let room = this.#maxHosts - this.#store.count();
    for (const answer of answers) {
      if ((this.#heardAtMs.get(answer.hostId) ?? Number.NEGATIVE_INFINITY) > answer.heardAtMs) continue; // PB-5
      const known = this.#store.get(answer.hostId);
      const taking = takeAnswer(known, answer);
      if (taking.kind !== "taken" || (known === undefined && room-- <= 0)) continue;
      writes.push(taking);
      taken.push(answer);
    }
    if (writes.length > 0) this.#store.write(writes);
    for (const { hostId, heardAtMs } of taken) this.#heardAtMs.set(hostId, heardAtMs);
    const changed = writes.filter((write) => write.changed).length;
    return { taken: writes.length, changed, notTaken: answers.length - writes.length };
  }

  #full(): boolean {
    return this.#store.count() >= this.#maxHosts;
  }
}

function iso(unixNs: bigint): string {
  const date = new Date(Number(unixNs / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${unixNs} ns` : date.toISOString();
}
