// The registry's AuthorityService as the host's Authority. A refusal is an answer; whatever else goes wrong leaves the
// outcome unknown, and nothing is sent again from here (§4).

import { isFault } from "@godwit/common/fault";
import type { AuthorityRecord } from "@godwit/common/lease";
import type { RpcChannel, ServiceClient } from "@godwit/grpc";
import { client } from "@godwit/grpc";
import {
  AuthorityService,
  type CommandResponse,
  RefusalCode as WireRefusal,
} from "@godwit/proto/godwit/registry/v1/authority";
import type { Announcement, Answer, Authority, CommandOn, HeadReport, HeldSession, Reading } from "./ports.ts";
import { reasonToWire, recordFromWire, refusalFromWire } from "./record-codec.ts";

export class GrpcAuthority implements Authority {
  readonly #calls: ServiceClient<typeof AuthorityService>;

  constructor(channel: RpcChannel) {
    this.#calls = client(channel, AuthorityService);
  }

  acquire: Authority["acquire"] = (session, command, head) =>
    this.#answer(() => this.#calls.acquire({ command: header(session, command), head }));

  beginHandoff: Authority["beginHandoff"] = (session, command, handoff) =>
    this.#answer(() => this.#calls.beginHandoff({ command: header(session, command), ...handoff }));

  revertHandoff: Authority["revertHandoff"] = (session, command) =>
    this.#answer(() => this.#calls.revertHandoff({ command: header(session, command) }));

  claim: Authority["claim"] = (session, command, token) =>
    this.#answer(() => this.#calls.claim({ command: header(session, command), token }));

  recover: Authority["recover"] = (session, command, head, spine = []) =>
    this.#answer(() => this.#calls.recover({ command: header(session, command), head, spine: [...spine] }));

  declareRecovery: Authority["declareRecovery"] = (session, command, reason) =>
    this.#answer(() => this.#calls.declareRecovery({ command: header(session, command), reason }));

  release: Authority["release"] = (session, command, { reason, head }) =>
    this.#answer(() =>
      this.#calls.release({
        command: header(session, command),
        reason: reasonToWire(reason),
        ...(head === undefined ? {} : { head }),
      }),
    );

  terminate: Authority["terminate"] = (session, command) =>
    this.#answer(() => this.#calls.terminate({ command: header(session, command) }));

  async reportHeads(session: HeldSession, reports: readonly HeadReport[]): Promise<readonly Answer[]> {
    try {
      const { results } = await this.#calls.reportHeads({
        caller: caller(session),
        incarnation: session.incarnation,
        reports: reports.map(({ commandId, agentId, era, major, head }) => ({ commandId, agentId, era, major, head })),
      });
      return reports.map((_, index) => answerOf(results[index]));
    } catch (cause) {
      return reports.map(() => ({ kind: "unknown", cause }));
    }
  }

  async announce(session: HeldSession, { held, withdrawn, markSeen }: Announcement): Promise<void> {
    await this.#calls.announce({
      caller: caller(session),
      incarnation: session.incarnation,
      held: [...held],
      withdrawnAgentIds: [...withdrawn],
      ...(markSeen === undefined ? {} : { markSeen }),
    });
  }

  async read(agentId: string): Promise<Reading> {
    try {
      const { record, ownerSessionVoid } = await this.#calls.getAgent({ agentId });
      if (record === undefined) return { kind: "no-record" };
      return { kind: "record", record: recordFromWire(record), ownerVoid: ownerSessionVoid };
    } catch (cause) {
      if (isFault(cause, "AGENT_UNKNOWN", "NO_RECORD")) return { kind: "no-record" };
      return { kind: "unreachable", cause };
    }
  }

  async *offers(session: HeldSession, signal: AbortSignal): AsyncGenerator<AuthorityRecord> {
    const stream = this.#calls.watchOffers(
      { caller: caller(session), incarnation: session.incarnation },
      { signal, timeoutMs: Number.POSITIVE_INFINITY },
    );
    for await (const { record } of stream) if (record !== undefined) yield recordFromWire(record);
  }

  async #answer(call: () => Promise<CommandResponse>): Promise<Answer> {
    try {
      return answerOf(await call());
    } catch (cause) {
      return { kind: "unknown", cause };
    }
  }
}

export function caller({ id, secret }: HeldSession): {
  session: { hostId: string; bootId: string };
  secret: Uint8Array;
} {
  return { session: { hostId: id.hostId, bootId: id.bootId }, secret };
}

function header(session: HeldSession, command: Omit<CommandOn, "revision"> & { readonly revision?: bigint }) {
  return {
    caller: caller(session),
    incarnation: session.incarnation,
    commandId: command.commandId,
    agentId: command.agentId,
    revision: command.revision ?? 0n,
  };
}

export function answerOf(response: CommandResponse | undefined): Answer {
  try {
    if (response === undefined) throw new TypeError("the registry left a report unanswered");
    const record = response.record && recordFromWire(response.record);
    if (response.refusal !== WireRefusal.UNSPECIFIED) {
      const code = refusalFromWire(response.refusal);
      if (code !== undefined) return { kind: "refused", code, record };
    }
    if (record === undefined) throw new TypeError("the registry answered without a record");
    return { kind: "applied", record };
  } catch (cause) {
    return { kind: "unknown", cause };
  }
}
