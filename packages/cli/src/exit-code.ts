// What a failure means to whoever called: an exit code for programs, one line for people.

import { type FaultCode, isFault } from "@godwit/common/fault";

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** Nothing, or more than one thing, has this name. */
  notFound: 3,
  /** Somebody who is needed does not answer; the same command may work later. */
  unavailable: 4,
  /** A file that is missing, or is not what it should be: nothing can be said about what it stands for. */
  unreadable: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const CODES: Partial<Record<FaultCode, ExitCode>> = {
  CONFIG_INVALID: EXIT.usage,
  INVALID_ARGUMENT: EXIT.usage,
  NO_RECORD: EXIT.notFound,
  AGENT_UNKNOWN: EXIT.notFound,
  HOST_UNKNOWN: EXIT.notFound,
  AMBIGUOUS_ID: EXIT.notFound,
  REGISTRY_UNAVAILABLE: EXIT.unavailable,
  PEER_UNREACHABLE: EXIT.unavailable,
  STORE_UNAVAILABLE: EXIT.unavailable,
  RPC_FAILED: EXIT.unavailable,
  FUNDING_UNKNOWN: EXIT.unavailable,
  NOT_READY: EXIT.unavailable,
  QUARANTINE: EXIT.unavailable,
  SESSION_NOT_OPEN: EXIT.unavailable,
  DEADLINE_EXCEEDED: EXIT.unavailable,
  SHUTTING_DOWN: EXIT.unavailable,
  DISK_FAILED: EXIT.unreadable,
  LINEAGE_INVALID: EXIT.unreadable,
  CHECKPOINT_INVALID: EXIT.unreadable,
};

export interface Failure {
  /** A fault's code; INTERNAL for a bug. */
  readonly code: string;
  readonly message: string;
  readonly exitCode: ExitCode;
}

export function failureOf(error: unknown): Failure {
  if (isFault(error)) {
    const message = isFault(error, "CONFIG_INVALID") ? error.detail.problems.join("; ") : oneLine(error.message);
    const isUnreadable = isFault(error, "EVIDENCE_INVALID") && error.detail.flaw === "malformed";
    const exitCode = isUnreadable ? EXIT.unreadable : (CODES[error.code] ?? EXIT.failed);
    return { code: error.code, message, exitCode };
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { code: "INTERNAL", message: `${oneLine(text)}: this is a bug in godwit`, exitCode: EXIT.failed };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
