// What a test saw of who committed which tick, and whether that can be. A light check for every cluster test; the whole one,
// over signed checkpoints, is the lineage's verification.
//
// Checked: EI-1 (one host per major, one checkpoint per tick of a major), EI-3 (no fork), EI-10 (a major begins where the one
// before it ended, unless it is marked as a rollback).

/** A tick that a host committed, as its log or its gRPC told. Seeing one twice is no offence. */
export interface CommittedTick {
  readonly kind: "committed";
  readonly agentId: string;
  readonly hostId: string;
  readonly era: bigint;
  readonly major: bigint;
  readonly tick: bigint;
  /** Of the checkpoint of this tick, when there is one. */
  readonly digest?: string;
}

/** The mark of a recovery from an older checkpoint: this major started from this tick, and what came after it is given up. */
export interface MarkedRollback {
  readonly kind: "rollback";
  readonly agentId: string;
  readonly era: bigint;
  readonly major: bigint;
  readonly fromTick: bigint;
}

export type HistoryEvent = CommittedTick | MarkedRollback;

export interface HistoryRules {
  /** "some-ticks" when ticks can have been missed, by polling or with a log that died with its process: gaps are no offence then. */
  readonly seen: "every-tick" | "some-ticks";
}

interface Major {
  readonly era: bigint;
  readonly major: bigint;
  readonly hosts: Set<string>;
  readonly digests: Map<bigint, string | undefined>;
  rollbackFrom: bigint | undefined;
}

/** Every offence in words; none when the history can be. The order of events does not matter. */
export function checkSingleOwner(
  events: readonly HistoryEvent[],
  rules: HistoryRules = { seen: "every-tick" },
): readonly string[] {
  const offences: string[] = [];
  for (const [agentId, ofAgent] of Map.groupBy(events, (event) => event.agentId)) {
    const majors = collect(ofAgent, offences);
    let last: bigint | undefined;
    for (const major of majors) {
      last = checkMajor(agentId, major, { last, rules }, offences);
    }
  }
  return offences;
}

/** Throws with every offence, for tests. */
export function assertSingleOwner(events: readonly HistoryEvent[], rules?: HistoryRules): void {
  const offences = checkSingleOwner(events, rules);
  if (offences.length > 0) throw new Error(`the history cannot be:\n${offences.join("\n")}`);
}

function collect(events: readonly HistoryEvent[], offences: string[]): Major[] {
  const majors = new Map<string, Major>();
  for (const event of events) {
    const key = `${event.era}.${event.major}`;
    const major = majors.get(key) ?? emptyMajor(event);
    majors.set(key, major);
    if (event.kind === "rollback") major.rollbackFrom = event.fromTick;
    else addTick(major, event, offences);
  }
  return [...majors.values()].sort((a, b) => compare(a.era, b.era) || compare(a.major, b.major));
}

function emptyMajor({ era, major }: HistoryEvent): Major {
  return { era, major, hosts: new Set(), digests: new Map(), rollbackFrom: undefined };
}

function addTick(major: Major, { agentId, hostId, tick, digest }: CommittedTick, offences: string[]): void {
  major.hosts.add(hostId);
  const known = major.digests.get(tick);
  if (known !== undefined && digest !== undefined && known !== digest) {
    offences.push(`${describe(agentId, major)}: tick ${tick} has two checkpoints, ${known} and ${digest}`);
  }
  major.digests.set(tick, known ?? digest);
}

/** The last tick of the lineage after this major. */
function checkMajor(
  agentId: string,
  major: Major,
  { last, rules }: { readonly last: bigint | undefined; readonly rules: HistoryRules },
  offences: string[],
): bigint | undefined {
  const what = describe(agentId, major);
  if (major.hosts.size > 1) offences.push(`${what}: committed by ${[...major.hosts].sort().join(" and ")}`);

  const base = major.rollbackFrom ?? last;
  const ticks = [...major.digests.keys()].sort(compare);
  let before = base;
  for (const tick of ticks) {
    if (before !== undefined && tick <= before) {
      offences.push(`${what}: tick ${tick} was committed before, and no rollback is marked`);
    } else if (before !== undefined && tick > before + 1n && rules.seen === "every-tick") {
      offences.push(`${what}: tick ${tick} follows tick ${before}`);
    }
    before = before === undefined || tick > before ? tick : before;
  }
  return before;
}

function describe(agentId: string, { era, major }: Major): string {
  return `agent ${agentId}, era ${era}, major ${major}`;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
