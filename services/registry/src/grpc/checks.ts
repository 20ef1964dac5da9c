// What callers may send: everything that reaches the domain has its form. Throws Fault INVALID_ARGUMENT that names the field.

import { Fault } from "@godwit/common/fault";
import type { SessionId, SignedBytes } from "@godwit/common/lease";
import { fromProtoSigned, isDigest, isHostId, MAX_SEALED_BYTES, SIGNATURE_BYTES } from "@godwit/lineage";
import type { Signed } from "@godwit/proto/godwit/lineage/v1/lineage";
import type { Caller as WireCaller } from "@godwit/proto/godwit/registry/v1/session";
import type { Caller } from "../sessions/caller.ts";
import { SECRET_BYTES } from "../sessions/secret.ts";
import { bootIdForm, isBootId } from "../sessions/sessions.ts";

export const MAX_BATCH = 1_000;
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;

export function invalid(field: string, reason: string): Fault<"INVALID_ARGUMENT"> {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}

export function readSession(session: SessionId | undefined, field: string): SessionId {
  if (session === undefined) throw invalid(field, "name the session");
  const { hostId, bootId } = session;
  readHostId(hostId, `${field}.host_id`);
  if (!isBootId(bootId)) throw invalid(`${field}.boot_id`, bootIdForm);
  return { hostId, bootId };
}

export function readCaller(caller: WireCaller | undefined): Caller {
  if (caller === undefined) throw invalid("caller", "say who calls: the session and its secret");
  const session = readSession(caller.session, "caller.session");
  // The length says nothing about the secret; another one is no secret of anybody's.
  if (caller.secret.length !== SECRET_BYTES) {
    throw invalid("caller.secret", `give the ${SECRET_BYTES} bytes that OpenSession answered`);
  }
  return { session, secret: new Uint8Array(caller.secret) };
}

export function readIncarnation(incarnation: string): string {
  if (!/^[\x21-\x7e]{1,128}$/.test(incarnation)) {
    throw invalid("incarnation", "give the incarnation under which this was decided: the mark names it");
  }
  return incarnation;
}

export function readAgentId(agentId: string, field = "agent_id"): string {
  if (!isDigest(agentId)) throw invalid(field, "give an agent id: 64 lower-case hex digits");
  return agentId;
}

export function readAgentPrefix(prefix: string): string {
  if (!/^[0-9a-f]{1,64}$/.test(prefix)) {
    throw invalid("agent_id", "give an agent id, or the beginning of one: up to 64 lower-case hex digits");
  }
  return prefix;
}

export function readHostId(hostId: string, field: string): string {
  if (!isHostId(hostId)) throw invalid(field, "give an Ed25519 peer id (12D3KooW…)");
  return hostId;
}

/** A host's id, a prefix of it, or its name. */
export function readHostRef(text: string): string {
  if (text.length === 0 || text.length > 128)
    throw invalid("host_id", "give a host's id, the beginning of one, or its name");
  return text;
}

/** Of a command or a handoff. */
export function readId(id: string, field: string): string {
  if (!/^[0-9A-Za-z._-]{1,128}$/.test(id)) {
    throw invalid(field, "give 1 to 128 letters, digits, dots or dashes, such as a UUID");
  }
  return id;
}

export function readSigned(signed: Signed | undefined, field: string): SignedBytes {
  if (signed === undefined || signed.payload.length === 0) throw invalid(field, "it is missing");
  if (signed.payload.length > MAX_SEALED_BYTES) throw invalid(field, `it has more than ${MAX_SEALED_BYTES} bytes`);
  if (signed.signature.length !== SIGNATURE_BYTES)
    throw invalid(field, `its signature has not ${SIGNATURE_BYTES} bytes`);
  return fromProtoSigned(signed);
}

export function readBatch<T>(items: readonly T[], field: string): readonly T[] {
  if (items.length > MAX_BATCH) throw invalid(field, `give at most ${MAX_BATCH} at once, not ${items.length}`);
  return items;
}

export function readPageSize(pageSize: number): number {
  if (pageSize > MAX_PAGE) throw invalid("page_size", `${pageSize} is too large: at most ${MAX_PAGE}`);
  return pageSize === 0 ? DEFAULT_PAGE : pageSize;
}

export function readText(
  text: string,
  { field, maxChars }: { readonly field: string; readonly maxChars: number },
): string {
  if (text.length > maxChars) throw invalid(field, `it has more than ${maxChars} characters`);
  // It is shown on terminals.
  if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)) throw invalid(field, "it has control characters");
  return text;
}
