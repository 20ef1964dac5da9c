// Reading records: one by id or unique prefix, all in pages, and who had an agent when.

import { Fault } from "@godwit/common/fault";
import type { HistoryEntry } from "@godwit/proto/godwit/registry/v1/authority";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import { isVoid } from "../sessions/void.ts";
import type { AuthorityStore, SessionStore, StoredHolder } from "../store/registry-store.ts";
import { readHistoryEntry } from "./history.ts";
import { decodeRecord, type KnownRecord } from "./record-codec.ts";

export interface AgentView {
  readonly record: KnownRecord;
  /** Live and newest first. */
  readonly holders: readonly StoredHolder[];
  readonly ownerSessionVoid: boolean;
}

export interface AgentPage {
  readonly records: readonly KnownRecord[];
  readonly nextPageToken: string;
}

export interface AgentsParts {
  readonly store: AuthorityStore & SessionStore;
  readonly keeper: MarkKeeper;
}

/** How many ids an AMBIGUOUS_ID names. */
const MAX_MATCHES = 5;

export class Agents {
  readonly #parts: AgentsParts;

  constructor(parts: AgentsParts) {
    this.#parts = parts;
  }

  /** Throws Fault AGENT_UNKNOWN, AMBIGUOUS_ID. */
  async get(idOrPrefix: string): Promise<AgentView> {
    const { keeper, store } = this.#parts;
    return await keeper.under(async ({ mark }) => {
      const agentId = await this.#resolve(mark, idOrPrefix);
      const { agents } = await store.readAgents(mark.bytes, { agentIds: [agentId], withHolders: true });
      const [read] = agents;
      if (read?.record === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId: idOrPrefix });
      const record = decodeRecord(read.record);
      return { record, holders: read.holders, ownerSessionVoid: await this.#ownerVoid(mark, record) };
    });
  }

  async list(page: {
    readonly pageSize: number;
    readonly pageToken: string;
    readonly ownerHostId: string | undefined;
  }): Promise<AgentPage> {
    const { keeper, store } = this.#parts;
    const { pageSize, pageToken, ownerHostId } = page;
    return await keeper.under(async ({ mark }) => {
      const agentIds = await store.findAgents(mark.bytes, {
        after: pageToken === "" ? undefined : pageToken,
        limit: pageSize,
        ...(ownerHostId !== undefined && { ownerHostId }),
      });
      const { agents } = await store.readAgents(mark.bytes, { agentIds, withHolders: false });
      const records = agents.flatMap(({ record }) => (record === undefined ? [] : [decodeRecord(record)]));
      return { records, nextPageToken: agentIds.length < pageSize ? "" : (agentIds.at(-1) ?? "") };
    });
  }

  /** Newest first. Throws Fault AGENT_UNKNOWN, AMBIGUOUS_ID. */
  async history(idOrPrefix: string): Promise<readonly HistoryEntry[]> {
    const { keeper, store } = this.#parts;
    return await keeper.under(async ({ mark }) => {
      const agentId = await this.#resolve(mark, idOrPrefix);
      const entries = await store.readHistory(mark.bytes, agentId);
      if (entries.length === 0) throw new Fault({ code: "AGENT_UNKNOWN", agentId: idOrPrefix });
      return entries.map(readHistoryEntry);
    });
  }

  async #resolve(mark: Mark, idOrPrefix: string): Promise<string> {
    if (idOrPrefix.length === 64) return idOrPrefix;
    const matches = await this.#parts.store.findAgents(mark.bytes, {
      prefix: idOrPrefix,
      after: undefined,
      limit: MAX_MATCHES,
    });
    const [only, ...others] = matches;
    if (only === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId: idOrPrefix });
    if (others.length > 0) throw new Fault({ code: "AMBIGUOUS_ID", prefix: idOrPrefix, matches });
    return only;
  }

  async #ownerVoid(mark: Mark, { record }: KnownRecord): Promise<boolean> {
    if (record.owner === undefined) return true;
    const [owner] = await this.#parts.store.readSessions(mark.bytes, [record.owner]);
    return isVoid(owner, mark.incarnation);
  }
}
