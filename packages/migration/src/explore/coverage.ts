// Which rows of the protocol's tables occurred, and in which model: every command of §4 applied and refused for each reason
// that can occur, and the sentences of §9.

import type { ModelRun } from "./run-model.ts";

/** Reasons for which a command of a host that keeps to the protocol, or of a stranger, is refused (§4). */
const refusals: Readonly<Record<string, readonly string[]>> = {
  acquire: ["applied", "EXISTS", "SESSION_VOID", "STALE_INCARNATION", "QUARANTINE", "BAD_GENESIS"],
  report_head: [
    "applied",
    "NOT_OWNER",
    "STALE_CHECKPOINT",
    "SESSION_VOID",
    "STALE_INCARNATION",
    "QUARANTINE",
    "NO_RECORD",
    "TERMINATED",
    "RECOVERY_REQUIRED",
    "BASE_UNCONFIRMED",
  ],
  begin_handoff: [
    "applied",
    "SESSION_VOID",
    "STALE_INCARNATION",
    "QUARANTINE",
    "STALE_REVISION",
    "HANDOFF_IN_PROGRESS",
  ],
  revert_handoff: ["applied", "STALE_REVISION", "NOT_OWNER", "STALE_INCARNATION"],
  claim: [
    "applied",
    "repeated",
    "HANDOFF_SUPERSEDED",
    "SESSION_VOID",
    "STALE_INCARNATION",
    "QUARANTINE",
    "NO_RECORD",
    "BAD_TOKEN",
  ],
  recover: [
    "applied",
    "OWNER_ALIVE",
    "STALE_REVISION",
    "STALE_CHECKPOINT",
    "SESSION_VOID",
    "STALE_INCARNATION",
    "QUARANTINE",
    "TERMINATED",
  ],
  declare_recovery: ["applied", "STALE_INCARNATION"],
  release: ["applied", "NOT_OWNER", "STALE_INCARNATION"],
  terminate: ["applied", "STALE_INCARNATION"],
};

const sentences: readonly string[] = [
  "SL-2 a silent session is closed",
  "GA-6 a new mark: mark-gone",
  "GA-6 a new mark: other-store",
  "GA-6 a quarantine ends",
  "GA-6 what names another incarnation is refused",
  "GA-7 rebuilt: no record",
  "GA-7 rebuilt: a lower major",
  "GA-7 rebuilt: the same major",
  "GA-7 refused (RECOVERY_REQUIRED)",
];

export const expectedRows: readonly string[] = [
  ...Object.entries(refusals).flatMap(([command, outcomes]) => outcomes.map((outcome) => `§4 ${command} ${outcome}`)),
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
