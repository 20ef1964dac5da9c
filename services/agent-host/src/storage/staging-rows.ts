// Packages of incoming handoffs between the answer to HANDOFF and the end of the claim. Their states lie with all others.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { digestOf, readHeader } from "@godwit/lineage";
import type { HeaderToKeep } from "./checkpoint-rows.ts";
import { type Cell, CellReader, pack, type Row, sealOf, unpack } from "./rows.ts";
import type { IncomingHandoff, StagedHandoff } from "./types.ts";

/** A staged handoff with all that is promoted with it. */
export interface StagedPackage {
  readonly handoff: StagedHandoff;
  readonly checkpoint: HeaderToKeep;
  readonly receipts: readonly Uint8Array[];
  readonly spine: readonly SignedBytes[];
}

export class StagingRows {
  readonly #cells: CellReader;
  readonly #select: StatementSync;
  readonly #selectAll: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteOfAgent: StatementSync;
  readonly #anyOfAgent: StatementSync;

  constructor(db: DatabaseSync, path: string) {
    this.#cells = new CellReader(path);
    this.#select = db.prepare("SELECT * FROM staging WHERE handoff_id = ?");
    this.#selectAll = db.prepare("SELECT * FROM staging ORDER BY rowid");
    this.#insert = db.prepare(
      `INSERT INTO staging (handoff_id, agent_id, name, module_digest, manifest_digest, source_host_id, token, header,
       digest, state_digest, spine, receipts, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#delete = db.prepare("DELETE FROM staging WHERE handoff_id = ?");
    this.#anyOfAgent = db.prepare("SELECT 1 FROM staging WHERE agent_id = ? LIMIT 1");
    this.#deleteOfAgent = db.prepare("DELETE FROM staging WHERE agent_id = ?");
  }

  get(handoffId: string): StagedPackage | undefined {
    const row = this.#select.get(handoffId);
    return row && this.#read(row);
  }

  *all(): Generator<StagedHandoff> {
    for (const row of this.#selectAll.iterate()) yield this.#read(row).handoff;
  }

  /** Staging the same again changes nothing. Throws Fault HANDOFF_IN_PROGRESS for another package under the same id. */
  put(agentId: string, incoming: IncomingHandoff): StagedHandoff {
    const { handoffId, agent, sourceHostId, token, checkpoint, spine = [], receipts = [] } = incoming;
    const held = this.get(handoffId);
    if (held !== undefined) {
      if (held.handoff.agentId === agentId && held.checkpoint.digest === checkpoint.digest) return held.handoff;
      throw new Fault({ code: "HANDOFF_IN_PROGRESS", agentId });
    }
    const cells = [
      handoffId,
      agentId,
      agent.name,
      agent.moduleDigest,
      agent.manifestDigest,
      sourceHostId,
      packSigned([token]),
      packSigned([checkpoint.signed]),
      checkpoint.digest,
      checkpoint.header.stateDigest,
      packSigned(spine),
      pack(receipts),
    ] as const;
    this.#insert.run(...cells, sealOf(cells));
    const { era, major, tick } = checkpoint.header;
    const ref = { era, major, tick, digest: checkpoint.digest };
    return { handoffId, agentId, agent, sourceHostId, token, header: checkpoint.signed, ref };
  }

  hasAny(agentId: string): boolean {
    return this.#anyOfAgent.get(agentId) !== undefined;
  }

  delete(handoffId: string): void {
    this.#delete.run(handoffId);
  }

  deleteOfAgent(agentId: string): void {
    this.#deleteOfAgent.run(agentId);
  }

  #read(row: Row): StagedPackage {
    const texts = TEXTS.map((column) => this.#cells.text(row, column));
    const [handoffId = "", agentId = "", name = "", moduleDigest = "", manifestDigest = "", sourceHostId = ""] = texts;
    const digest = this.#cells.text(row, "digest");
    const stateDigest = this.#cells.text(row, "state_digest");
    const [token, header, spine, receipts] = PACKED.map((column) => this.#cells.bytes(row, column));
    const what = `the staged handoff ${handoffId}`;
    const cells: readonly Cell[] = [
      ...texts,
      token ?? null,
      header ?? null,
      digest,
      stateDigest,
      spine ?? null,
      receipts ?? null,
    ];
    this.#cells.checkSeal(row, cells, what);

    const [oneToken] = unpackSigned(token) ?? [];
    const [signed] = unpackSigned(header) ?? [];
    const spineHeaders = unpackSigned(spine);
    const receiptList = receipts && unpack(receipts);
    if (!oneToken || !signed || !spineHeaders || !receiptList) throw this.#cells.damaged(`${what} cannot be read`);
    const read = readHeader(signed.payload);
    return {
      handoff: {
        handoffId,
        agentId,
        agent: { name, moduleDigest, manifestDigest },
        sourceHostId,
        token: oneToken,
        header: signed,
        ref: { era: read.era, major: read.major, tick: read.tick, digest },
      },
      checkpoint: { header: read, signed, digest: digestOf(signed.payload) },
      receipts: receiptList,
      spine: spineHeaders,
    };
  }
}

const TEXTS = ["handoff_id", "agent_id", "name", "module_digest", "manifest_digest", "source_host_id"] as const;
const PACKED = ["token", "header", "spine", "receipts"] as const;

function packSigned(list: readonly SignedBytes[]): Uint8Array {
  return pack(list.flatMap(({ payload, signature }) => [payload, signature]));
}

function unpackSigned(packed: Uint8Array | undefined): SignedBytes[] | undefined {
  const parts = packed && unpack(packed);
  if (parts === undefined || parts.length % 2 !== 0) return undefined;
  const list: SignedBytes[] = [];
  for (let at = 0; at < parts.length; at += 2) {
    const [payload, signature] = parts.slice(at, at + 2);
    if (payload && signature) list.push({ payload, signature });
  }
  return list;
}
