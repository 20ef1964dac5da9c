// SL-2: when a session is void, and how a caller stands. Both can only ever go one way, so they need no lock.

import type { Facts } from "@godwit/common/lease";
import type { StoredSession } from "../store/registry-store.ts";
import { secretDigest, secretsMatch } from "./secret.ts";

/** Closed, or not known to the current incarnation. Void is for ever. */
export function isVoid(session: StoredSession | undefined, incarnation: string): boolean {
  return session === undefined || session.closed || session.incarnation !== incarnation;
}

/** What `decide` needs to know of whoever sent a command. */
export function callerStanding(
  session: StoredSession | undefined,
  secret: Uint8Array,
  incarnation: string,
): Facts["caller"] {
  if (session === undefined || session.incarnation !== incarnation) return "unknown";
  if (session.closed) return "void";
  return secretsMatch(session.secretDigest, secretDigest(secret)) ? "open" : "bad-secret";
}
