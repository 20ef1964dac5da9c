/** Where a process can be ended in the middle of a handoff (testing.md, fault 1). */
export const SOURCE_CRASH_POINTS = [
  "source.before-begin",
  "source.after-begin",
  "source.before-relinquish",
  "source.after-relinquish",
  "source.before-send-handoff",
  "source.after-send-handoff",
  "source.after-started",
  "source.after-retire",
] as const;

export const TARGET_CRASH_POINTS = [
  "target.before-stage",
  "target.after-stage",
  "target.before-claim",
  "target.after-claim",
  "target.before-start",
  "target.before-reply",
  "target.after-reply",
] as const;

export type SourceCrashPoint = (typeof SOURCE_CRASH_POINTS)[number];
export type TargetCrashPoint = (typeof TARGET_CRASH_POINTS)[number];

/** What a driver needs of CrashPoints. */
export interface Reaches<Name extends string> {
  reach(point: Name): void;
}
