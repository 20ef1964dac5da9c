// Records and sessions as this replica has seen them last, to decide a command on without asking for them first (§4).
//
// 1. Nothing is answered from here. Only a change may be decided on what is remembered: the store compares mark, session
//    and the whole record with what was decided on, in the step that writes it, and so says whether it still held.
//    Whatever else is decided, refusals above all, is decided anew on what the store says.
// 2. It belongs to one mark. Under it a session's secret stays (a session gets another one only in quarantine, under
//    another mark), and that it is open is compared by the store.

import type { SessionId } from "@godwit/common/lease";
import type { Mark } from "../mark/mark.ts";
import type { StoredSession } from "../store/registry-store.ts";
import type { KnownRecord } from "./record-codec.ts";

/** Of each kind; those that were used last. */
const MAX_REMEMBERED = 4_096;

export class Remembered {
  readonly #records = new Map<string, KnownRecord>();
  readonly #sessions = new Map<string, StoredSession>();
  #mark: Mark | undefined;

  record(mark: Mark, agentId: string): KnownRecord | undefined {
    return this.#mark === mark ? this.#records.get(agentId) : undefined;
  }

  session(mark: Mark, session: SessionId): StoredSession | undefined {
    return this.#mark === mark ? this.#sessions.get(keyOf(session)) : undefined;
  }

  keepRecord(mark: Mark, record: KnownRecord): void {
    this.#under(mark);
    keep(this.#records, record.record.agentId, record);
  }

  keepSession(mark: Mark, session: StoredSession): void {
    this.#under(mark);
    keep(this.#sessions, keyOf(session), session);
  }

  #under(mark: Mark): void {
    if (this.#mark === mark) return;
    this.#mark = mark;
    this.#records.clear();
    this.#sessions.clear();
  }
}

function keep<T>(among: Map<string, T>, key: string, value: T): void {
  among.delete(key);
  among.set(key, value);
  if (among.size <= MAX_REMEMBERED) return;
  const [oldest] = among.keys();
  if (oldest !== undefined) among.delete(oldest);
}

function keyOf({ hostId, bootId }: SessionId): string {
  return `${hostId}/${bootId}`;
}
