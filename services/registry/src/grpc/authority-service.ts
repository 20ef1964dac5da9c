import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SignedBytes } from "@godwit/common/lease";
import { type ServedService, serve } from "@godwit/grpc";
import { toProtoRef, toProtoSession, toProtoSigned } from "@godwit/lineage";
import type { Signed } from "@godwit/proto/godwit/lineage/v1/lineage";
import {
  AuthorityService,
  type CommandHeader,
  type CommandResponseSchema,
  type HeadReport,
} from "@godwit/proto/godwit/registry/v1/authority";
import type { Agents } from "../authority/agents.ts";
import type { Announcements } from "../authority/announcements.ts";
import type { Authority, CommandAnswer, CommandRequest } from "../authority/authority.ts";
import { genesisOf, readShownHead, readTokenClaims, type ShownHead } from "../authority/evidence.ts";
import { readReassertion } from "../authority/reassert-items.ts";
import type { Reassertions } from "../authority/reassertions.ts";
import { readRetiredReason } from "../authority/record-codec.ts";
import { type RefusalContext, refusalMessage, wireRefusal } from "../authority/refusals.ts";
import type { Offers } from "../offers/offers.ts";
import type { Caller } from "../sessions/caller.ts";
import {
  invalid,
  readAgentId,
  readAgentPrefix,
  readBatch,
  readCaller,
  readHostId,
  readId,
  readIncarnation,
  readPageSize,
  readSigned,
  readText,
} from "./checks.ts";

export interface AuthorityServiceParts {
  readonly authority: Authority;
  readonly agents: Agents;
  readonly announcements: Announcements;
  readonly reassertions: Reassertions;
  readonly offers: Offers;
}

/** What fits into one message. */
const MAX_SPINE = 65_536;

type Response = MessageInitShape<typeof CommandResponseSchema>;

/** What every command carries, checked. */
interface Common {
  readonly base: {
    readonly id: string;
    readonly incarnation: string;
    readonly agentId: string;
    readonly caller: Caller["session"];
    readonly revision: bigint;
  };
  readonly secret: Uint8Array;
}

export function authorityService({
  authority,
  agents,
  announcements,
  reassertions,
  offers,
}: AuthorityServiceParts): ServedService {
  const execute = async (request: CommandRequest): Promise<Response> =>
    response(request.command, await authority.execute(request));

  return serve(AuthorityService, {
    async acquire({ command, head: signed }) {
      const { base, secret } = common(command);
      const { revision: _, ...header } = base;
      const head = readShown(signed, base.agentId, { anyAgent: true });
      const genesis = genesisOf(head);
      return await execute({
        command: { kind: "acquire", ...header, genesis, head: head.ref },
        secret,
        head,
        genesisMatches: genesis.agentId === base.agentId && head.agentId === base.agentId,
      });
    },

    async reportHeads({ caller: wireCaller, incarnation: named, reports }) {
      const caller = readCaller(wireCaller);
      const incarnation = readIncarnation(named);
      const requests = readBatch(reports, "reports").map((report) => reportRequest(report, caller, incarnation));
      const answers = await authority.reportHeads(caller, requests);
      return {
        results: requests.flatMap(({ command }, index) => {
          const answer = answers[index];
          return answer === undefined ? [] : [response(command, answer)];
        }),
      };
    },

    async beginHandoff({ command, handoffId, targetHostId, head: signed }) {
      const { base, secret } = common(command);
      const head = readShown(signed, base.agentId);
      return await execute({
        command: {
          kind: "begin_handoff",
          ...base,
          handoffId: readId(handoffId, "handoff_id"),
          targetHostId: readHostId(targetHostId, "target_host_id"),
          head: head.ref,
        },
        secret,
        head,
      });
    },

    async revertHandoff({ command }) {
      const { base, secret } = common(command);
      return await execute({ command: { kind: "revert_handoff", ...base }, secret });
    },

    async claim({ command, token: signed }) {
      const { base, secret } = common(command);
      const { revision: _, ...header } = base;
      const token = readSigned(signed, "token");
      return await execute({ command: { kind: "claim", ...header, token: readTokenClaims(token) }, secret, token });
    },

    async recover({ command, head: signed, spine }) {
      const { base, secret } = common(command);
      const head = readShown(signed, base.agentId);
      return await execute({
        command: { kind: "recover", ...base, head: head.ref },
        secret,
        head,
        spine: readSpine(head, spine),
      });
    },

    async forceRecover(request) {
      const agentId = readAgentId(request.agentId);
      const head = readShown(request.head, agentId);
      return await execute({
        command: {
          kind: "force_recover",
          id: readId(request.commandId, "command_id"),
          incarnation: readIncarnation(request.incarnation),
          agentId,
          revision: request.revision,
          head: head.ref,
          operator: {
            name: readStated(request.operator, "operator"),
            reason: readStated(request.reason, "reason"),
          },
          noneAcceptable: request.noneAcceptable,
        },
        head,
        spine: readSpine(head, request.spine) ?? [],
      });
    },

    async declareRecovery({ command, reason }) {
      const { base, secret } = common(command);
      const why = readText(reason, { field: "reason", maxChars: 256 });
      return await execute({ command: { kind: "declare_recovery", ...base, reason: why }, secret });
    },

    async release({ command, reason: wireReason, head: signed }) {
      const { base, secret } = common(command);
      const reason = readRetiredReason(wireReason);
      if (reason === undefined || reason === "forced") {
        throw invalid("reason", "give drained, cannot-run, stopped, failed or unfunded");
      }
      const head = signed === undefined ? undefined : readShown(signed, base.agentId);
      return await execute({ command: { kind: "release", ...base, reason, head: head?.ref }, secret, head });
    },

    async terminate({ command }) {
      const { base, secret } = common(command);
      return await execute({ command: { kind: "terminate", ...base }, secret });
    },

    async reassert({ reassertion, items }) {
      const shown = readReassertion(readSigned(reassertion, "reassertion"), items);
      readIncarnation(shown.incarnation);
      const { session, results } = await reassertions.reassert(shown);
      return {
        secret: session.secret,
        generation: session.generation,
        rules: session.rules,
        mark: toProtoSigned(session.mark.signed),
        results: results.map((answer, at) =>
          response({ kind: "reassert", agentId: shown.items[at]?.agentId ?? "" }, answer),
        ),
      };
    },

    async announce({ caller, incarnation, held, withdrawnAgentIds, markSeen }) {
      const refused = await announcements.announce({
        caller: readCaller(caller),
        incarnation: readIncarnation(incarnation),
        held: readBatch(held, "held").map((signed, at) => readSigned(signed, `held[${at}]`)),
        withdrawn: readBatch(withdrawnAgentIds, "withdrawn_agent_ids").map((id, at) =>
          readAgentId(id, `withdrawn_agent_ids[${at}]`),
        ),
        markSeen: markSeen && readSigned(markSeen, "mark_seen"),
      });
      return { refused };
    },

    async *watchOffers({ caller, incarnation }, { signal }) {
      const request = { caller: readCaller(caller), incarnation: readIncarnation(incarnation) };
      for await (const { message } of offers.watch(request, signal)) yield { record: message };
    },

    async getAgent({ agentId }) {
      const { record, holders, ownerSessionVoid } = await agents.get(readAgentPrefix(agentId));
      return {
        record: record.message,
        holders: holders.map(({ session, checkpoint }) => ({
          session: toProtoSession(session),
          checkpoint: toProtoRef(checkpoint),
        })),
        ownerSessionVoid,
      };
    },

    async listAgents({ pageSize, pageToken, ownerHostId }) {
      const { records, nextPageToken } = await agents.list({
        pageSize: readPageSize(pageSize),
        pageToken: pageToken === "" ? "" : readAgentId(pageToken, "page_token"),
        ownerHostId: ownerHostId === "" ? undefined : readHostId(ownerHostId, "owner_host_id"),
      });
      return { records: records.map(({ message }) => message), nextPageToken };
    },

    async getAgentHistory({ agentId }) {
      return { entries: [...(await agents.history(readAgentPrefix(agentId)))] };
    },
  });
}

function common(header: CommandHeader | undefined): Common {
  if (header === undefined) throw invalid("command", "it is missing");
  const caller = readCaller(header.caller);
  return {
    base: {
      id: readId(header.commandId, "command_id"),
      incarnation: readIncarnation(header.incarnation),
      agentId: readAgentId(header.agentId),
      caller: caller.session,
      revision: header.revision,
    },
    secret: caller.secret,
  };
}

function reportRequest(report: HeadReport, { session, secret }: Caller, incarnation: string): CommandRequest {
  const agentId = readAgentId(report.agentId);
  const { era, major } = report;
  const head = readShown(report.head, agentId);
  const id = readId(report.commandId, "command_id");
  return {
    command: { kind: "report_head", id, incarnation, agentId, caller: session, era, major, head: head.ref },
    secret,
    head,
  };
}

/** `acquire` shows its genesis, and whether that gives the agent its id is the answer to it, no bad argument. */
function readShown(
  signed: Signed | undefined,
  agentId: string,
  { anyAgent = false }: { readonly anyAgent?: boolean } = {},
): ShownHead {
  const bytes: SignedBytes = readSigned(signed, "head");
  return readShownHead(bytes, anyAgent ? undefined : agentId);
}

/** `undefined` when none was shown: one that is below tick 0 is shown by saying nothing. */
function readSpine(head: ShownHead, spine: readonly Signed[]): readonly SignedBytes[] | undefined {
  if (spine.length > MAX_SPINE) throw invalid("spine", `give at most ${MAX_SPINE} headers, not ${spine.length}`);
  if (spine.length === 0 && head.genesis === undefined) return undefined;
  return spine.map((signed, at) => readSigned(signed, `spine[${at}]`));
}

/** What an operator says for the history. */
function readStated(text: string, field: string): string {
  if (text.trim().length === 0) throw invalid(field, "say it, for the agent's history");
  return readText(text, { field, maxChars: 256 });
}

function response(
  command: RefusalContext["command"],
  { refusal, problem, record, incarnation }: CommandAnswer,
): Response {
  const answer: Response = { incarnation, ...(record && { record: record.message }) };
  if (refusal === undefined) return answer;
  const message = problem ?? refusalMessage(refusal, { command, record: record?.record, incarnation });
  return { ...answer, refusal: wireRefusal(refusal), message };
}
