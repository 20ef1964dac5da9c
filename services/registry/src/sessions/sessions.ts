// Sessions and their leases, as the registry sees them.
//
// SL-1  A renewal that is applied adds one to the generation; none is answered from memory. What is not known or closed is not renewed.
// SL-5  A session's duration, grace and renewal window are fixed when it is opened.
// SL-6  `close` ends a session at once. GA-5: with an earlier boot id it ends that one of the same host.
// GA-6  A renewal that names a generation above the stored one shows that the store forgot: QUARANTINE.

import { fromBinary } from "@bufbuild/protobuf";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { LeaseRules, SessionId, SignedBytes } from "@godwit/common/lease";
import { isHostId, open, publicKeyOfHost } from "@godwit/lineage";
import { type SessionOpening, SessionOpeningSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { Logger } from "pino";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import type { SessionStore } from "../store/registry-store.ts";
import { authenticate, type Caller, checkIncarnation } from "./caller.ts";
import { newSecret, secretDigest } from "./secret.ts";

export interface SessionsParts {
  readonly store: SessionStore;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RegistryMetrics;
  /** Told of a session that has just been closed, so that its agents are offered at once. */
  readonly onClosed: (session: SessionId) => void;
}

export interface RegistryDescription {
  readonly publicKey: Uint8Array;
  readonly mark: Mark;
  readonly rules: LeaseRules;
}

export interface OpenedSession {
  readonly secret: Uint8Array;
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly mark: Mark;
}

export interface RenewedSession {
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly mark: Mark;
}

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #rules: LeaseRules;

  constructor(parts: SessionsParts, rules: LeaseRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  async describe(): Promise<RegistryDescription> {
    return await this.#parts.keeper.under(async ({ mark, signer }) => ({
      publicKey: signer.publicKey,
      mark,
      rules: this.#rules,
    }));
  }

  /** Throws Fault SIGNATURE_INVALID, STALE_INCARNATION, SESSION_EXISTS, INVALID_ARGUMENT. */
  async open(opening: SignedBytes): Promise<OpenedSession> {
    const { keeper, store, clock, logger, metrics } = this.#parts;
    return await keeper.under(async ({ mark }) => {
      const { hostId, bootId, incarnation } = readOpening(opening);
      checkIncarnation(incarnation, mark);
      const secret = newSecret();
      const session = {
        hostId,
        bootId,
        incarnation: mark.incarnation,
        generation: 0n,
        rules: this.#rules,
        closed: false,
        secretDigest: secretDigest(secret),
      };
      const outcome = await store.openSession(mark.bytes, session, clock.now().getTime());
      if (outcome === "exists") throw new Fault({ code: "SESSION_EXISTS", hostId });
      metrics.sessionsOpened.inc();
      logger.info({ hostId, bootId }, "session opened");
      return { secret, generation: 0n, rules: this.#rules, mark };
    });
  }

  /** Throws Fault STALE_INCARNATION, SESSION_UNKNOWN, SESSION_VOID, BAD_SECRET, QUARANTINE. */
  async renew(request: {
    readonly caller: Caller;
    readonly incarnation: string;
    readonly generation: bigint;
  }): Promise<RenewedSession> {
    const { keeper, store, clock, logger, metrics } = this.#parts;
    const { caller, generation } = request;
    const { hostId } = caller.session;
    return await keeper.under(async ({ mark }) => {
      checkIncarnation(request.incarnation, mark);
      const outcome = await store.renewSession(mark.bytes, {
        ...caller.session,
        incarnation: mark.incarnation,
        secretDigest: secretDigest(caller.secret),
        generation,
        seenAtMs: clock.now().getTime(),
      });
      metrics.renewals.inc({ outcome: outcome.kind });
      switch (outcome.kind) {
        case "renewed":
          return { generation: outcome.generation, rules: outcome.rules, mark };
        case "unknown":
          throw new Fault({ code: "SESSION_UNKNOWN", hostId });
        case "void":
          throw new Fault({ code: "SESSION_VOID", hostId });
        case "bad-secret":
          throw new Fault({ code: "BAD_SECRET", hostId });
        case "forgot": {
          logger.error({ hostId, named: generation, stored: outcome.generation }, "the store forgot a renewal");
          const reason = `host ${hostId} was answered generation ${generation}, the store has ${outcome.generation}: it forgot`;
          throw new Fault({ code: "QUARANTINE", reason });
        }
      }
    });
  }

  /** Closing what is closed already is no error. Throws the faults of `renew`, but never QUARANTINE for what the store forgot. */
  async close(request: {
    readonly caller: Caller;
    readonly incarnation: string;
    /** Of the same host (GA-5); unset: the caller's own session. */
    readonly earlierBootId: string | undefined;
  }): Promise<void> {
    const { keeper, store, logger, metrics, onClosed } = this.#parts;
    const { caller, earlierBootId } = request;
    const { hostId } = caller.session;
    await keeper.under(async ({ mark }) => {
      await authenticate(store, mark, request);
      const session = earlierBootId === undefined ? caller.session : { hostId, bootId: earlierBootId };
      const outcome = await store.closeSession(mark.bytes, { session, generation: undefined, caller: caller.session });
      if (outcome === "caller-void") throw new Fault({ code: "SESSION_VOID", hostId });
      if (outcome !== "closed") return; // unknown is void as well (SL-2)
      metrics.sessionsClosed.inc({ because: earlierBootId === undefined ? "asked" : "earlier-boot" });
      logger.info({ ...session }, "session closed by its host");
      onClosed(session);
    });
  }
}

function readOpening(signed: SignedBytes): SessionOpening {
  let opening: SessionOpening;
  try {
    opening = fromBinary(SessionOpeningSchema, signed.payload);
  } catch (cause) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "opening", reason: "it is no SessionOpening" }, { cause });
  }
  const { hostId, bootId } = opening;
  if (!isHostId(hostId)) {
    throw new Fault({
      code: "INVALID_ARGUMENT",
      field: "opening.host_id",
      reason: "give an Ed25519 peer id (12D3KooW…)",
    });
  }
  if (!isBootId(bootId)) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "opening.boot_id", reason: bootIdForm });
  }
  open("session-opening", signed, publicKeyOfHost(hostId));
  return opening;
}

export const bootIdForm = "give 1 to 64 letters, digits, dots or dashes, such as a UUID";

export function isBootId(text: string): boolean {
  return /^[0-9A-Za-z._-]{1,64}$/.test(text);
}
