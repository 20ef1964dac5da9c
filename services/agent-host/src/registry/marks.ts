// The marks of the registry's store that this host has seen, the newest of them on the disk (GA-6).
//
// 1. Only what the pinned key has signed counts. What is on the disk is verified again: it is shown to others as proof.
// 2. The counter never goes down. Two marks of one counter with different incarnations are both remembered, so that neither
//    is the newest: the registry that hears of the other one writes a new mark above both.
// 3. A mark is on the disk before anything is done under it.

import { fromBinary } from "@bufbuild/protobuf";
import { isNewest, rememberMark, type SeenMark, type SignedBytes } from "@godwit/common/lease";
import { open } from "@godwit/lineage";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { VerifiedMark } from "./ports.ts";

export interface MarkMemory {
  newestMark(): SignedBytes | undefined;
  saveMark(mark: SignedBytes): Promise<void>;
}

export class Marks {
  readonly #memory: MarkMemory;
  #seen: readonly SeenMark[] = [];
  #newest: VerifiedMark | undefined;

  constructor(memory: MarkMemory) {
    this.#memory = memory;
  }

  /** What is shown to the registry. */
  get newest(): SignedBytes | undefined {
    return this.#memory.newestMark();
  }

  /** Reads what the disk has. Throws Fault SIGNATURE_INVALID when the key has not signed it. */
  load(registryKey: Uint8Array): void {
    const saved = this.#memory.newestMark();
    if (saved === undefined || this.#newest !== undefined) return;
    this.#newest = readMark(saved, registryKey);
    this.#seen = rememberMark(this.#seen, this.#newest);
  }

  /**
   * Takes a mark in that the registry has answered; `newest` says whether nothing that was seen is above it, or beside it.
   * Throws Fault SIGNATURE_INVALID for one that the key has not signed.
   */
  async see(
    signed: SignedBytes,
    registryKey: Uint8Array,
  ): Promise<{ readonly mark: VerifiedMark; readonly newest: boolean }> {
    this.load(registryKey);
    const mark = readMark(signed, registryKey);
    this.#seen = rememberMark(this.#seen, mark);
    const newest = isNewest(mark, this.#seen);
    if (newest && this.#isNews(mark)) {
      await this.#memory.saveMark(signed);
      this.#newest = mark;
    }
    return { mark, newest };
  }

  /** Of one incarnation the end of its quarantine is news, its beginning is not. */
  #isNews({ counter, quarantine }: VerifiedMark): boolean {
    const before = this.#newest;
    return before === undefined || before.counter < counter || (before.quarantine && !quarantine);
  }
}

function readMark(signed: SignedBytes, registryKey: Uint8Array): VerifiedMark {
  const { incarnation, counter, storeIdentity, quarantine } = fromBinary(MarkSchema, open("mark", signed, registryKey));
  return { incarnation, counter, storeIdentity, quarantine, signed };
}
