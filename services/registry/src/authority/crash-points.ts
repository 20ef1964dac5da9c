// Named moments in the life of a command, for tests that kill the process there: before and after its record is stored, and
// before the caller hears of it.

const MOMENTS = ["before-apply", "after-apply", "before-reply"] as const;

type Moment = (typeof MOMENTS)[number];
type Command =
  | "acquire"
  | "report"
  | "begin"
  | "revert"
  | "claim"
  | "recover"
  | "declare"
  | "release"
  | "terminate"
  | "force"
  | "reassert";

export type RegistryCrashPoint = `${Command}.${Moment}`;

const COMMANDS: readonly Command[] = [
  "acquire",
  "report",
  "begin",
  "revert",
  "claim",
  "recover",
  "declare",
  "release",
  "terminate",
  "force",
  "reassert",
];

export const REGISTRY_CRASH_POINTS: readonly RegistryCrashPoint[] = COMMANDS.flatMap((command) =>
  MOMENTS.map((moment) => `${command}.${moment}` as const),
);

/** Where a process that allows it may be made to die; usually nothing happens. */
export interface RegistryCrashPoints {
  reach(point: RegistryCrashPoint): void;
}

const COMMAND_OF = {
  acquire: "acquire",
  report_head: "report",
  begin_handoff: "begin",
  revert_handoff: "revert",
  claim: "claim",
  recover: "recover",
  declare_recovery: "declare",
  release: "release",
  terminate: "terminate",
  force_recover: "force",
  reassert: "reassert",
} as const;

export function crashPointOf(kind: keyof typeof COMMAND_OF, moment: Moment): RegistryCrashPoint {
  return `${COMMAND_OF[kind]}.${moment}`;
}
