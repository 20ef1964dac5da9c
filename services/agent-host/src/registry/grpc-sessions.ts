import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { LeaseRules, SignedBytes } from "@godwit/common/lease";
import { client, type RpcChannel, type ServiceClient } from "@godwit/grpc";
import { fromProtoSigned, type Signer, seal, toProtoSigned } from "@godwit/lineage";
import type { Signed } from "@godwit/proto/godwit/lineage/v1/lineage";
import { AuthorityService } from "@godwit/proto/godwit/registry/v1/authority";
import {
  SessionOpeningSchema,
  SessionService,
  type LeaseRules as WireRules,
} from "@godwit/proto/godwit/registry/v1/session";
import { answerOf, caller } from "./grpc-authority.ts";
import type {
  HeldSession,
  OpenedSession,
  Reasserted,
  RegistryDescription,
  Renewal,
  RenewalClaim,
  Sessions,
} from "./ports.ts";

/** The registry's SessionService as the host's Sessions. Errors are Faults; deadlines are the caller's. */
export class GrpcSessions implements Sessions {
  readonly #calls: ServiceClient<typeof SessionService>;
  readonly #authority: ServiceClient<typeof AuthorityService>;

  constructor(channel: RpcChannel) {
    this.#calls = client(channel, SessionService);
    this.#authority = client(channel, AuthorityService);
  }

  async describe(signal: AbortSignal): Promise<RegistryDescription> {
    const { publicKey, mark, rules } = await this.#calls.describeRegistry({}, { signal });
    if (mark === undefined) throw incomplete("mark");
    return { publicKey: new Uint8Array(publicKey), mark: fromProtoSigned(mark), rules: rulesOf(rules) };
  }

  async open(opening: SignedBytes, signal: AbortSignal): Promise<OpenedSession> {
    const answer = await this.#calls.openSession({ opening }, { signal });
    return {
      secret: new Uint8Array(answer.secret),
      generation: answer.generation,
      rules: rulesOf(answer.rules),
      mark: markOf(answer.mark),
    };
  }

  async renew(session: HeldSession, { generation, markSeen }: RenewalClaim, signal: AbortSignal): Promise<Renewal> {
    const { incarnation } = session;
    const seen = markSeen === undefined ? {} : { markSeen };
    const answer = await this.#calls.renewSession(
      { caller: caller(session), incarnation, generation, ...seen },
      { signal },
    );
    return { generation: answer.generation, rules: rulesOf(answer.rules), mark: markOf(answer.mark) };
  }

  async reassert(reassertion: SignedBytes, items: Uint8Array, signal: AbortSignal): Promise<Reasserted> {
    const { results, ...answer } = await this.#authority.reassert({ reassertion, items }, { signal });
    return {
      secret: new Uint8Array(answer.secret),
      generation: answer.generation,
      rules: rulesOf(answer.rules),
      mark: markOf(answer.mark),
      results: results.map(answerOf),
    };
  }

  async close(session: HeldSession, earlierBootId: string | undefined, signal: AbortSignal): Promise<void> {
    await this.#calls.closeSession(
      { caller: caller(session), incarnation: session.incarnation, earlierBootId: earlierBootId ?? "" },
      { signal },
    );
  }
}

/** What a host signs to open a session (§2). */
export function signOpening(
  opening: {
    readonly hostId: string;
    readonly bootId: string;
    readonly incarnation: string;
    readonly markSeen: SignedBytes | undefined;
  },
  signer: Signer,
): SignedBytes {
  const { hostId, bootId, incarnation, markSeen } = opening;
  const message = create(SessionOpeningSchema, { hostId, bootId, incarnation });
  if (markSeen !== undefined) message.markSeen = toProtoSigned(markSeen);
  return seal("session-opening", toBinary(SessionOpeningSchema, message), signer);
}

function markOf(mark: Signed | undefined): SignedBytes {
  if (mark === undefined) throw incomplete("mark");
  return fromProtoSigned(mark);
}

function rulesOf(rules: WireRules | undefined): LeaseRules {
  if (rules === undefined || rules.durationMs === 0 || rules.renewEveryMs === 0) throw incomplete("lease rules");
  return { durationMs: rules.durationMs, graceMs: rules.graceMs, renewEveryMs: rules.renewEveryMs };
}

function incomplete(what: string): Fault {
  return new Fault({ code: "REGISTRY_UNAVAILABLE", reason: `it answered without ${what}` });
}
