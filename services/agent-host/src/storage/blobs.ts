// Modules and manifests: written before anything names them, kept as long as something does, and collected afterwards (T-25).
//
// 1. A blob that an agent or a staged handoff names is never dropped. The tombstone of a terminated agent names none.
// 2. Whoever is about to name one holds it, whether it is here already or still has to come: a module that comes in is on the
//    disk before its handoff is staged, and one that is here is not sent again. Holds are counted in memory, so they end
//    with the process, and what it had not named by then is collected after the next start.
// 3. What is here and not needed is bounded: it is collected now and then, and at the latest when `collectAfterBytes` were put.

import { digestOf } from "@godwit/lineage";
import type { BlobRows } from "./blob-rows.ts";
import type { Unit } from "./group-commit.ts";
import { PAGE_BYTES } from "./schema.ts";
import type { StagedHandoff, StoredAgent } from "./types.ts";

export interface BlobsParts {
  readonly rows: BlobRows;
  readonly write: <T>(unit: Unit<T>) => Promise<T>;
  readonly read: <T>(read: () => T) => T;
  /** As they are on the disk. */
  readonly agents: () => Iterable<StoredAgent>;
  readonly staged: () => Iterable<StagedHandoff>;
  readonly collectAfterBytes: number | undefined;
}

const COLLECT_AFTER_BYTES = 64 * 1024 * 1024;
/** Other writes get their turn in between. */
const DROPPED_AT_ONCE = 32;

export class Blobs {
  readonly #parts: BlobsParts;
  readonly #holds = new Map<string, number>();
  /** Put since the last collection. */
  #putBytes = 0;
  #collecting: Promise<number> | undefined;

  constructor(parts: BlobsParts) {
    this.#parts = parts;
  }

  async put(bytes: Uint8Array): Promise<string> {
    const { rows, read, write } = this.#parts;
    const digest = digestOf(bytes);
    using _held = this.hold([digest]); // what is here already must not go before this has resolved
    if (read(() => rows.isGood(digest))) return digest; // many agents are of one module
    const committed = () => {
      this.#putBytes += bytes.length + PAGE_BYTES; // a row has a page at least
    };
    await write({ bytes: bytes.length, run: () => rows.put(digest, bytes), committed });
    return digest;
  }

  get(digest: string): Uint8Array | undefined {
    return this.#parts.read(() => this.#parts.rows.get(digest));
  }

  has(digest: string): boolean {
    return this.#parts.read(() => this.#parts.rows.has(digest));
  }

  hold(digests: readonly string[]): Disposable {
    for (const digest of digests) this.#holds.set(digest, (this.#holds.get(digest) ?? 0) + 1);
    const release = () => {
      for (const digest of digests) this.#release(digest);
      const dueAtBytes = this.#parts.collectAfterBytes ?? COLLECT_AFTER_BYTES;
      if (this.#putBytes >= dueAtBytes) this.collect().catch(() => {}); // what fails is done by the next
    };
    return once(release);
  }

  /** Calls that overlap share one collection. */
  collect(): Promise<number> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }

  async #collect(): Promise<number> {
    const { rows, write } = this.#parts;
    this.#putBytes = 0;
    for (let dropped = 0; ; ) {
      const run = () => rows.dropUnneeded(this.#needed(), DROPPED_AT_ONCE);
      const count = await write({ bytes: DROPPED_AT_ONCE * PAGE_BYTES, run });
      dropped += count;
      if (count < DROPPED_AT_ONCE) return dropped;
    }
  }

  /** What another unit of the same transaction names is not in memory yet: it is held until that unit is answered (2). */
  #needed(): (digest: string) => boolean {
    const named = new Set<string>();
    for (const { moduleDigest, manifestDigest, journal } of this.#parts.agents()) {
      if (journal.phase !== "terminated") named.add(moduleDigest).add(manifestDigest);
    }
    for (const { agent } of this.#parts.staged()) named.add(agent.moduleDigest).add(agent.manifestDigest);
    return (digest) => named.has(digest) || this.#holds.has(digest);
  }

  #release(digest: string): void {
    const others = (this.#holds.get(digest) ?? 0) - 1;
    if (others > 0) this.#holds.set(digest, others);
    else this.#holds.delete(digest);
  }
}

function once(release: () => void): Disposable {
  let isReleased = false;
  return {
    [Symbol.dispose]: () => {
      if (isReleased) return;
      isReleased = true;
      release();
    },
  };
}
