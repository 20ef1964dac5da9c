// Replicas of one service, tried in order. What the command asks of the registry it may ask again: it reads, or says
// what shall be (a host drains), so a call whose answer was lost does no harm when it is repeated elsewhere.

import type { DescService } from "@bufbuild/protobuf";
import { isFault } from "@godwit/common/fault";
import type { ServiceClient } from "@godwit/grpc";

/** Which replica answered last; shared by the clients of all services of a replica. */
export interface Preference {
  index: number;
}

type Unary = (request: unknown, options?: unknown) => Promise<unknown>;

/** A client whose calls go to the preferred replica, and to the others in turn when that is not there, or cannot work. */
export function firstOf<S extends DescService>(
  { methods }: S,
  replicas: readonly ServiceClient<S>[],
  preference: Preference,
): ServiceClient<S> {
  const calls = methods.map(({ localName, methodKind }) => {
    const candidates = replicas.map((replica) => (replica as Readonly<Record<string, Unary>>)[localName]);
    // A stream that has begun cannot be begun again for its reader.
    if (methodKind !== "unary") return [localName, candidates[preference.index]] as const;
    return [localName, (...call: Parameters<Unary>) => inTurn(candidates, call, preference)] as const;
  });
  return Object.fromEntries(calls) as ServiceClient<S>;
}

async function inTurn(
  candidates: readonly (Unary | undefined)[],
  call: Parameters<Unary>,
  preference: Preference,
): Promise<unknown> {
  const start = preference.index;
  let last: unknown;
  for (let tried = 0; tried < candidates.length; tried++) {
    const index = (start + tried) % candidates.length;
    try {
      const answer = await candidates[index]?.(...call);
      preference.index = index;
      return answer;
    } catch (error) {
      last = error;
      if (!isElsewherePerhaps(error)) {
        preference.index = index; // it answered
        throw error;
      }
    }
  }
  throw last;
}

function isElsewherePerhaps(error: unknown): boolean {
  if (isFault(error, "RPC_FAILED")) return ["UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(error.detail.status);
  return isFault(error, "DEADLINE_EXCEEDED", "NOT_READY", "STORE_UNAVAILABLE", "SHUTTING_DOWN");
}
