import { isFault } from "@godwit/common/fault";

/** What to log of a cause: a Fault is expected, and says all in its code and message; anything else keeps its stack. */
export function causeFields(cause: unknown): Record<string, unknown> {
  return isFault(cause) ? { code: cause.code, reason: cause.message } : { err: cause };
}
