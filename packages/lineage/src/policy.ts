import type { RecoveryPolicy } from "@godwit/common/lease";
import { RecoveryPolicy as WirePolicy } from "@godwit/proto/godwit/lineage/v1/lineage";

export function toProtoPolicy(policy: RecoveryPolicy): WirePolicy {
  return policy === "strict" ? WirePolicy.STRICT : WirePolicy.LATEST;
}

/** `undefined` for one that is missing or not known. */
export function fromProtoPolicy(policy: number): RecoveryPolicy | undefined {
  if (policy === WirePolicy.LATEST) return "latest";
  if (policy === WirePolicy.STRICT) return "strict";
  return undefined;
}
