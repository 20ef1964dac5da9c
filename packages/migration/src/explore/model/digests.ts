// Digests of checkpoints as short names. A digest stands for what the checkpoint says: who wrote it, under which term, at
// which tick, after which other one. So two hosts that would write the same number write different checkpoints.

import type { CheckpointRef, Term } from "@godwit/common/lease";

interface Written {
  readonly ref: CheckpointRef;
  readonly previous: CheckpointRef | undefined;
}

export class Digests {
  readonly #byContent = new Map<string, string>();
  readonly #written = new Map<string, Written>();

  write(host: string, term: Term, previous: CheckpointRef | undefined): CheckpointRef {
    const tick = previous === undefined ? 0n : previous.tick + 1n;
    const content = `${host}|${term.era}.${term.major}|${tick}|${previous?.digest ?? ""}`;
    let digest = this.#byContent.get(content);
    if (digest === undefined) {
      digest = `c${this.#byContent.size}`;
      this.#byContent.set(content, digest);
      const ref = { era: term.era, major: term.major, tick, digest };
      this.#written.set(digest, { ref, previous });
    }
    return { era: term.era, major: term.major, tick, digest };
  }

  previous({ digest }: CheckpointRef): CheckpointRef | undefined {
    return this.#written.get(digest)?.previous;
  }

  /** Whether `older` is `newer` or what it was made from, link by link. */
  descends(newer: CheckpointRef, older: CheckpointRef): boolean {
    for (let at: CheckpointRef | undefined = newer; at !== undefined; at = this.previous(at)) {
      if (at.digest === older.digest) return true;
    }
    return false;
  }
}
