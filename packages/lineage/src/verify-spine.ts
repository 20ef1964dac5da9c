// The spine: base by base from a checkpoint to genesis, one header per change of owner.

import { Fault } from "@godwit/common/fault";
import { type CheckpointRef, formatTerm, type SignedBytes, sameCheckpoint } from "@godwit/common/lease";
import { carriedProblem } from "./carried.ts";
import type { Header } from "./header.ts";
import { type VerifiedHeader, verifyHeader } from "./verify-header.ts";

/**
 * EI-3, I2: `headers` are the base of `from`, the base of that, and so on to tick 0, none missing, none too many; each is
 * verified by itself, is the one that the header after it names, is of the same agent and module, and has left the money
 * that is charged to. So the majors fall strictly, which headers cannot break without breaking a rule of their own. `from` has to be verified before.
 * Total. Throws Fault LINEAGE_INVALID for a broken spine, else what verifyHeader throws.
 */
export function verifySpine(
  headers: readonly SignedBytes[],
  from: Header,
  registryPublicKey: Uint8Array,
): readonly VerifiedHeader[] {
  const spine: VerifiedHeader[] = [];
  let above = from;
  for (const signed of headers) {
    if (above.base === undefined) throw complain("the spine goes on after tick 0");
    const next = verifyHeader(signed, registryPublicKey);
    const problem = linkProblem(above, above.base, next) ?? moneyProblem(above, next);
    if (problem !== undefined) throw complain(problem);
    spine.push(next);
    above = next.header;
  }
  if (above.base !== undefined) throw complain(`the spine ends before tick 0: it lacks ${describeRef(above.base)}`);
  return spine;
}

/** Why `below` is not what `above` started from. */
export function linkProblem(above: Header, base: CheckpointRef, below: VerifiedHeader): string | undefined {
  if (!sameCheckpoint(below.ref, base)) return `${describeRef(base)} is wanted, not ${describeRef(below.ref)}`;
  const { agentId, moduleDigest, manifestDigest } = below.header;
  if (agentId !== above.agentId) return `${describeRef(base)} is of another agent`;
  if (moduleDigest !== above.moduleDigest || manifestDigest !== above.manifestDigest) {
    return `after ${describeRef(base)} the agent has another module or manifest`;
  }
  return undefined;
}

/** I6: why the money of `above` does not go on from `below`, its base. */
export function moneyProblem(above: Header, below: VerifiedHeader): string | undefined {
  const problem = carriedProblem(below, above);
  return problem && `what stands on ${describeRef(below.ref)} ${problem}`;
}

export function describeRef(ref: CheckpointRef): string {
  return `tick ${ref.tick} of major ${formatTerm(ref)} (${ref.digest.slice(0, 12)})`;
}

function complain(reason: string): Fault {
  return new Fault({ code: "LINEAGE_INVALID", reason });
}
