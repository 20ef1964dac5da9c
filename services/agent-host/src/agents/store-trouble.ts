// Which refusals speak of the registry's store and not of the agent: what they mean for a grant is the lease's to say (GA-1).

import { isFault } from "@godwit/common/fault";
import type { RefusalCode } from "@godwit/common/lease";

/** The store forgot, or another incarnation is there: the session is brought over, or lost. */
export function isOfTheStore(code: RefusalCode): boolean {
  return code === "STALE_INCARNATION" || code === "QUARANTINE";
}

export function isQuarantine(cause: unknown): boolean {
  return isFault(cause, "QUARANTINE");
}
