// Sessions and their leases, as the registry sees them.
//
// SL-1  A renewal that is applied adds one to the generation; none is answered from memory. What is not known or closed is not renewed.
// SL-5  A session's duration, grace and renewal window are fixed when an incarnation first knows it.
// SL-6  `close` ends a session at once. GA-5: with an earlier boot id it ends that one of the same host.
// GA-6  All of this is served in quarantine. A renewal that names a generation above the stored one shows that the store forgot:
//       a new mark is written, and the caller hears of that incarnation. The newest mark that a host shows counts.
// GA-7  In quarantine a host brings its session back: that counts as a renewal.

import { fromBinary } from "@bufbuild/protobuf";
import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { LeaseRules, SessionId, SignedBytes } from "@godwit/common/lease";
import { fromProtoSigned, isHostId, open, publicKeyOfHost } from "@godwit/lineage";
import { type SessionOpening, SessionOpeningSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { Logger } from "pino";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper, Standing } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import type { SessionStore } from "../store/registry-store.ts";
import { authenticate, type Caller, checkIncarnation } from "./caller.ts";
import { newSecret, reassertedSecret, secretDigest } from "./secret.ts";

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

/** A thousand years of renewals, a thousand a second; stores count further. */
const MAX_GENERATION = 1n << 45n;

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #rules: LeaseRules;

  constructor(parts: SessionsParts, rules: LeaseRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  async describe(): Promise<RegistryDescription> {
    return await this.#parts.keeper.underAny(async ({ mark, signer }) => ({
      publicKey: signer.publicKey,
      mark,
      rules: this.#rules,
    }));
  }

  /** Throws Fault SIGNATURE_INVALID, STALE_INCARNATION, SESSION_EXISTS, INVALID_ARGUMENT. */
  async open(opening: SignedBytes): Promise<OpenedSession> {
    const { keeper, store, clock, logger, metrics } = this.#parts;
    const { hostId, bootId, incarnation, markSeen } = readOpening(opening);
    await keeper.show(markSeen && fromProtoSigned(markSeen));
    return await keeper.underAny(async ({ mark }) => {
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
    /** The newest mark that the host has seen. */
    readonly markSeen?: SignedBytes | undefined;
  }): Promise<RenewedSession> {
    const { keeper, store, clock, metrics } = this.#parts;
    const { caller, generation } = request;
    const { hostId } = caller.session;
    await keeper.show(request.markSeen);
    return await keeper.underAny(async ({ mark }) => {
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
        case "forgot":
          return await keeper.forgot(mark, {
            hostId,
            answeredGeneration: String(generation),
            storedGeneration: String(outcome.generation),
          });
      }
    });
  }

  /**
   * Brings a session back, or renews it again if it is back already. Within `underAny`, in quarantine, for a host that has
   * signed for it; each call of one session under one incarnation answers the same secret. Throws Fault SESSION_VOID when it was
   * closed, INVALID_ARGUMENT for a generation that no session has.
   */
  async reassert({ mark, signer }: Standing, session: SessionId, generation: bigint): Promise<OpenedSession> {
    const { store, clock, logger } = this.#parts;
    const { hostId, bootId } = session;
    if (generation < 0n || generation > MAX_GENERATION) {
      throw new Fault({ code: "INVALID_ARGUMENT", field: "generation", reason: "no session was renewed that often" });
    }
    const secret = reassertedSecret(session, mark.incarnation, signer);
    const outcome = await store.reassertSession(mark.bytes, {
      hostId,
      bootId,
      incarnation: mark.incarnation,
      generation,
      rules: this.#rules,
      secretDigest: secretDigest(secret),
      seenAtMs: clock.now().getTime(),
    });
    if (outcome.kind === "void") throw new Fault({ code: "SESSION_VOID", hostId });
    logger.info({ hostId, bootId, incarnation: mark.incarnation }, "session reasserted");
    return { secret, generation: outcome.session.generation, rules: outcome.session.rules, mark };
  }

  /** Closing what is closed already is no error. Throws the faults of `renew`. */
  async close(request: {
    readonly caller: Caller;
    readonly incarnation: string;
    /** Of the same host (GA-5); unset: the caller's own session. */
    readonly earlierBootId: string | undefined;
  }): Promise<void> {
    const { keeper, store, logger, metrics, onClosed } = this.#parts;
    const { caller, earlierBootId } = request;
    const { hostId } = caller.session;
    await keeper.underAny(async ({ mark }) => {
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
