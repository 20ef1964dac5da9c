// Digests of checkpoints as short names. A digest stands for what the checkpoint says: who wrote it, under which term, at
// which tick, after which other one. So two hosts that would write the same number write different checkpoints.

import { basesOfSpine, type CheckpointRef, type SpineFacts, type SpineLink, type Term } from "@godwit/common/lease";
import { firstIncarnation } from "./world.ts";

interface Written {
  readonly ref: CheckpointRef;
  readonly previous: CheckpointRef | undefined;
  /** What the owner of its term started from. */
  readonly base: CheckpointRef | undefined;
  /** The incarnation of the grant under which it was written. */
  readonly grantedUnder: string | undefined;
}

export class Digests {
  readonly #byContent = new Map<string, string>();
  readonly #written = new Map<string, Written>();

  write(
    host: string,
    term: Term,
    previous: CheckpointRef | undefined,
    more: { readonly base: CheckpointRef; readonly grantedUnder: string } | undefined,
  ): CheckpointRef {
    const tick = previous === undefined ? 0n : previous.tick + 1n;
    const grantedUnder = more?.grantedUnder;
    const content = `${host}|${term.era}.${term.major}|${tick}|${previous?.digest ?? ""}|${grantedUnder ?? ""}`;
    let digest = this.#byContent.get(content);
    if (digest === undefined) {
      digest = `c${this.#byContent.size}`;
      this.#byContent.set(content, digest);
      const ref = { era: term.era, major: term.major, tick, digest };
      this.#written.set(digest, { ref, previous, base: more?.base, grantedUnder });
    }
    return { era: term.era, major: term.major, tick, digest };
  }

  previous({ digest }: CheckpointRef): CheckpointRef | undefined {
    return this.#written.get(digest)?.previous;
  }

  /** The checkpoint and the bases under it, down to tick 0. */
  spine(checkpoint: CheckpointRef): readonly SpineLink[] {
    const links: SpineLink[] = [];
    for (let at: CheckpointRef | undefined = checkpoint; at !== undefined; ) {
      const base: CheckpointRef | undefined = this.#written.get(at.digest)?.base;
      links.push({ ref: at, base });
      at = base;
    }
    return links;
  }

  spineFacts(checkpoint: CheckpointRef): SpineFacts {
    return {
      bases: basesOfSpine(this.spine(checkpoint)),
      genesis: { incarnation: firstIncarnation, recoveryPolicy: "latest", name: "agent" },
      grantedUnder: this.#written.get(checkpoint.digest)?.grantedUnder,
    };
  }

  /** Whether `older` is `newer` or what it was made from, link by link. */
  descends(newer: CheckpointRef, older: CheckpointRef): boolean {
    for (let at: CheckpointRef | undefined = newer; at !== undefined; at = this.previous(at)) {
      if (at.digest === older.digest) return true;
    }
    return false;
  }
}
