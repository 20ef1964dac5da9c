// What a registry does with the mark that it finds in its store (protocol §2, §9), and when it may end a quarantine.
//
// §2    A missing mark means "new" only where the signing key is being made, and only while nobody has seen a mark under it.
// GA-6  A mark is right when it is of this key, of the store that is really there, and above all others that were seen under
//       this key (a lower counter, or the same counter with another incarnation, is not). A right one is adopted, whoever wrote
//       it; one of another key is refused; anything else is replaced by a new one, in quarantine, whose counter is above every
//       one that is known and at least the wall clock in whole seconds.
// GA-6  Quarantine is ended by a registry that has itself watched this very mark for the quarantine length, on its own
//       monotonic clock. A look that comes late, or shows another mark, starts the watch anew.

/** A mark's statement, without its signature. */
export interface StoreMark {
  readonly incarnation: string;
  readonly counter: bigint;
  /** Of the store for which it was written: which server, or which file, holds the data. */
  readonly storeIdentity: string;
  readonly quarantine: boolean;
}

/** What is remembered of a mark that was seen under this key, by this process or by a host. */
export type SeenMark = Pick<StoreMark, "incarnation" | "counter">;

/** What the store has, once its signature was checked. */
export type StoredMark =
  | { readonly kind: "none" }
  /** Bytes that this key has not signed as a mark. */
  | { readonly kind: "foreign" }
  | { readonly kind: "verified"; readonly mark: StoreMark };

export interface MarkFacts {
  readonly stored: StoredMark;
  /** Of the store that is really there, asked on this very connection. */
  readonly liveIdentity: string;
  /** All that were ever shown to this process under this key, as `rememberMark` keeps them. */
  readonly seen: readonly SeenMark[];
  /** The signing key is being made: nothing was ever signed with it but, perhaps, the first mark. */
  readonly founding: boolean;
  /** An incarnation under which a host named a generation or revision above the stored one. */
  readonly forgotUnder: string | undefined;
  /** For a new mark, should one be needed: never used before. */
  readonly newIncarnation: string;
  /** Wall clock, whole seconds since 1970. A lower bound of a new counter; decides nothing else. */
  readonly nowSeconds: bigint;
}

/** Why the store is taken for one that forgot. */
export type StoreLoss = "mark-gone" | "other-store" | "not-newest" | "forgot";

export type MarkDecision =
  | { readonly kind: "adopt"; readonly mark: StoreMark }
  /** The store is new: write it only where there is none. */
  | { readonly kind: "create"; readonly mark: StoreMark }
  /** Write it by compare-and-set on what was found; then decide anew on what is there. */
  | { readonly kind: "replace"; readonly mark: StoreMark; readonly because: StoreLoss }
  /** Of another key: serve nothing, change nothing. */
  | { readonly kind: "refuse" };

export function decideMark(facts: MarkFacts): MarkDecision {
  const { stored, seen, founding, liveIdentity, newIncarnation } = facts;
  if (stored.kind === "foreign") return { kind: "refuse" };
  if (stored.kind === "none" && founding && seen.length === 0) {
    return {
      kind: "create",
      mark: { incarnation: newIncarnation, counter: 0n, storeIdentity: liveIdentity, quarantine: false },
    };
  }
  const because = lossOf(facts);
  if (because === undefined && stored.kind === "verified") return { kind: "adopt", mark: stored.mark };

  const known = [...seen, ...(stored.kind === "verified" ? [stored.mark] : [])].map(({ counter }) => counter);
  const above = known.reduce(larger, 0n) + 1n;
  return {
    kind: "replace",
    because: because ?? "mark-gone",
    mark: {
      incarnation: newIncarnation,
      counter: larger(above, facts.nowSeconds),
      storeIdentity: liveIdentity,
      quarantine: true,
    },
  };
}

/**
 * Adds a mark whose signature was checked. Only the newest matter, and two of one counter are enough to know that nothing
 * of that counter is above all others.
 */
export function rememberMark(seen: readonly SeenMark[], { incarnation, counter }: SeenMark): readonly SeenMark[] {
  if (seen.some((known) => known.counter > counter)) return seen;
  const sameCounter = seen.filter((known) => known.counter === counter);
  if (sameCounter.length > 1 || sameCounter.some((known) => known.incarnation === incarnation)) return sameCounter;
  return [...sameCounter, { incarnation, counter }];
}

/** Whether nothing that was seen is above this mark, or beside it with another incarnation. */
export function isNewest({ incarnation, counter }: SeenMark, seen: readonly SeenMark[]): boolean {
  return seen.every(
    (other) => other.counter < counter || (other.counter === counter && other.incarnation === incarnation),
  );
}

function lossOf({ stored, liveIdentity, seen, forgotUnder }: MarkFacts): StoreLoss | undefined {
  if (stored.kind !== "verified") return "mark-gone";
  const { mark } = stored;
  if (mark.storeIdentity !== liveIdentity) return "other-store";
  if (!isNewest(mark, seen)) return "not-newest";
  return forgotUnder === mark.incarnation ? "forgot" : undefined;
}

/** How long a registry has watched one mark in quarantine. */
export interface QuarantineWatch {
  readonly incarnation: string;
  readonly counter: bigint;
  readonly sinceMs: number;
  readonly lookedAtMs: number;
}

/** One look at the stored mark, which was found right; times on this registry's monotonic clock. */
export interface QuarantineLook {
  readonly mark: StoreMark;
  /** Before the store was asked, so that a slow answer never makes a watch longer than it was. */
  readonly askedAtMs: number;
  /** After it answered: a watch starts here. */
  readonly answeredAtMs: number;
}

export interface QuarantineRules {
  /** At least duration + grace of every session of the incarnation before. */
  readonly quarantineMs: number;
  /** A look that comes later than this after the one before starts the watch anew. */
  readonly maxGapMs: number;
}

/** `over`: the mark may be written without quarantine now, by compare-and-set on the one that was looked at. */
export function watchQuarantine(
  before: QuarantineWatch | undefined,
  { mark, askedAtMs, answeredAtMs }: QuarantineLook,
  { quarantineMs, maxGapMs }: QuarantineRules,
): { readonly watch: QuarantineWatch | undefined; readonly over: boolean } {
  if (!mark.quarantine) return { watch: undefined, over: false };
  const { incarnation, counter } = mark;
  const continues =
    before !== undefined &&
    before.incarnation === incarnation &&
    before.counter === counter &&
    answeredAtMs - before.lookedAtMs <= maxGapMs;
  const sinceMs = continues ? before.sinceMs : answeredAtMs;
  return {
    watch: { incarnation, counter, sinceMs, lookedAtMs: answeredAtMs },
    over: continues && askedAtMs - sinceMs >= quarantineMs,
  };
}

/** The same mark, out of quarantine. */
export function withoutQuarantine(mark: StoreMark): StoreMark {
  return { ...mark, quarantine: false };
}

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
