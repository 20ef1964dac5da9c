import { Fault } from "@godwit/common/fault";
import type { SessionId } from "@godwit/common/lease";
import type { Mark } from "../mark/mark.ts";
import type { SessionStore, StoredSession } from "../store/registry-store.ts";
import { callerStanding } from "./void.ts";

/** Who calls, by its own account. */
export interface Caller {
  readonly session: SessionId;
  readonly secret: Uint8Array;
}

/** Throws Fault STALE_INCARNATION unless the caller decided under the present one. */
export function checkIncarnation(named: string, mark: Mark): void {
  if (named !== mark.incarnation) throw new Fault({ code: "STALE_INCARNATION", current: mark.incarnation });
}

/** Throws Fault SESSION_UNKNOWN, SESSION_VOID or BAD_SECRET unless the caller's session is open and the secret its own. */
export function checkCaller({ session, secret }: Caller, stored: StoredSession | undefined, mark: Mark): void {
  const { hostId } = session;
  switch (callerStanding(stored, secret, mark.incarnation)) {
    case "open":
      return;
    case "unknown":
      throw new Fault({ code: "SESSION_UNKNOWN", hostId });
    case "void":
      throw new Fault({ code: "SESSION_VOID", hostId });
    case "bad-secret":
      throw new Fault({ code: "BAD_SECRET", hostId });
  }
}

/** For calls that are no commands of §4: the same checks, as faults. */
export async function authenticate(
  store: SessionStore,
  mark: Mark,
  { caller, incarnation }: { readonly caller: Caller; readonly incarnation: string },
): Promise<void> {
  checkIncarnation(incarnation, mark);
  const [stored] = await store.readSessions(mark.bytes, [caller.session]);
  checkCaller(caller, stored, mark);
}
