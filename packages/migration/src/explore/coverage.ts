// Which rows of the protocol's tables occurred, and in which model: every command of §4 applied and refused for each reason
// that can occur, and the sentences of §9.

import type { ModelRun } from "./run-model.ts";

/** What any command can be refused for before its agent is looked at. */
const early = ["STALE_INCARNATION", "QUARANTINE", "SESSION_UNKNOWN", "BAD_SECRET"];

/**
 * The outcomes of each command that can occur, in a host's hands or a stranger's (§4). What is not here cannot: hosts that keep
 * to the protocol never have two checkpoints of one tick (DIVERGENT_LINEAGE is EI-11, and a violation), for example.
 */
const outcomes: Readonly<Record<string, readonly string[]>> = {
  acquire: [...early, "applied", "EXISTS", "SESSION_VOID", "BAD_GENESIS"],
  report_head: [
    ...early,
    ...["applied", "SESSION_VOID", "NO_RECORD", "TERMINATED", "NOT_OWNER", "RECOVERY_REQUIRED", "BASE_UNCONFIRMED"],
    "STALE_CHECKPOINT",
  ],
  begin_handoff: [
    ...early,
    ...["applied", "SESSION_VOID", "NO_RECORD", "TERMINATED", "NOT_OWNER", "STALE_REVISION", "HANDOFF_IN_PROGRESS"],
  ],
  revert_handoff: [...early, "applied", "SESSION_VOID", "NO_RECORD", "TERMINATED", "NOT_OWNER", "STALE_REVISION"],
  claim: [
    ...early,
    ...["applied", "repeated", "SESSION_VOID", "NO_RECORD", "TERMINATED", "HANDOFF_SUPERSEDED", "RECOVERY_REQUIRED"],
    "BAD_TOKEN",
  ],
  recover: [
    ...early,
    ...["applied", "SESSION_VOID", "TERMINATED", "STALE_REVISION", "OWNER_ALIVE", "STALE_CHECKPOINT"],
  ],
  declare_recovery: [...early, "applied", "repeated", "NO_RECORD", "TERMINATED", "NOT_OWNER"],
  release: [...early, "applied", "repeated", "NO_RECORD", "TERMINATED", "NOT_OWNER"],
  terminate: [...early, "applied", "repeated", "NO_RECORD", "NOT_OWNER"],
  force_recover: ["applied", "QUARANTINE", "TERMINATED", "OWNER_ALIVE"],
};

/** §9 and what it rests on, sentence by sentence. */
const sentences: readonly string[] = [
  "SL-2 a silent session is closed",
  "SL-2 a replica closes a session",
  "SL-2 an agent of a void session is recovered",
  "GA-6 a new mark: mark-gone",
  "GA-6 a new mark: other-store",
  "GA-6 a replica writes a new mark",
  "GA-6 a replica adopts the other's mark",
  "GA-6 a quarantine ends",
  "GA-6 a replica ends the quarantine",
  "GA-6 in quarantine a session is opened",
  "GA-6 in quarantine a session is renewed",
  "GA-6 in quarantine a session is closed",
  "GA-6 in quarantine what is held is announced",
  "GA-6 what names another incarnation is refused",
  "GA-7 a session is brought over",
  "GA-7 a reassert of a session that is void",
  "GA-7 rebuilt: no record",
  "GA-7 rebuilt: a lower major",
  "GA-7 rebuilt: the same major",
  "GA-7 answered",
  "GA-7 refused (RECOVERY_REQUIRED)",
  "GA-8 a deadline that passed brings nothing over: a new session is opened",
  "GA-8 not reasserted: given-up",
  "GA-8 not reasserted: no-grant",
  "GA-9 recovered in a new era: no record",
  "GA-9 recovered in a new era: nobody confirmed the record",
  "GA-9 a confirmed base brings its spine",
  "GA-9 a forced recovery after a loss",
  "GA-9 an agent of a lost record is recovered",
];

export const expectedRows: readonly string[] = [
  ...Object.entries(outcomes).flatMap(([command, each]) => each.map((outcome) => `§4 ${command} ${outcome}`)),
  ...sentences,
];

export function coverageTable(
  runs: readonly ModelRun[],
  { withMissing }: { readonly withMissing: boolean },
): { readonly text: string; readonly missing: number } {
  const found = new Map<string, string[]>();
  for (const { name, rows } of runs) for (const row of rows) found.set(row, [...(found.get(row) ?? []), name]);
  const missing = expectedRows.filter((row) => !found.has(row));
  const rows = [...found.keys(), ...(withMissing ? missing : [])].sort();
  const width = Math.max(...rows.map((row) => row.length), 0);
  const lines = [`${"row".padEnd(width)}  occurs in`];
  for (const row of rows) lines.push(`${row.padEnd(width)}  ${found.get(row)?.join(", ") ?? "MISSING"}`);
  if (withMissing) lines.push(missing.length === 0 ? "every row occurred" : `${missing.length} rows never occurred`);
  return { text: lines.join("\n"), missing: missing.length };
}
