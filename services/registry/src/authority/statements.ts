// What the registry signs of a record before it is stored: the grant of its owner, or that the agent is gone for good (§2).

import type { AuthorityRecord, Statement } from "@godwit/common/lease";
import { issueGrant, issueTermination } from "@godwit/lineage";
import type { Standing } from "../mark/mark-keeper.ts";

export function signedRecord(
  record: AuthorityRecord,
  statement: Statement | undefined,
  { standing: { mark, signer }, at }: { readonly standing: Standing; readonly at: Date },
): AuthorityRecord {
  const { agentId, era, major, owner } = record;
  const { incarnation } = mark;
  const issuedAtNs = BigInt(at.getTime()) * 1_000_000n;
  if (statement === "grant" && owner !== undefined) {
    return { ...record, grant: issueGrant({ agentId, era, major, session: owner, incarnation, issuedAtNs }, signer) };
  }
  if (statement === "termination") {
    return { ...record, terminated: issueTermination({ agentId, era, major, incarnation, issuedAtNs }, signer) };
  }
  return record;
}
