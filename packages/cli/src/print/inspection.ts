// What godwit inspect prints of a file. The labels of the seed system's checkpoints are those of its own inspector.

import { formatMoney } from "@godwit/common/money";
import { digestOf, type Header, type Imported, readHeader } from "@godwit/lineage";
import type { SeedCheckpoint } from "@godwit/lineage/seed";
import type { CheckpointInspection, Inspection, SeedInspection } from "../operations/inspect.ts";
import { formatTime } from "./format.ts";

const LABEL_CHARS = 18;
const MAX_DUMPED_BYTES = 256;
const ROW_BYTES = 16;
const NS_PER_MS = 1_000_000n;

export function inspectionText(inspection: Inspection, path: string): readonly string[] {
  switch (inspection.kind) {
    case "seed-checkpoint":
      return seedText(inspection);
    case "checkpoint":
      return checkpointText(inspection);
    case "lineage": {
      const { report, file } = inspection;
      const { agentId, genesis, head } = report;
      return [
        line("File", "a lineage of Godwit, as godwit verify --export writes it"),
        line("Headers", `${file.headers.length}`),
        line(
          "Agent",
          `${agentId ?? "none: not one header verifies"}${genesis === undefined ? "" : ` (${genesis.name})`}`,
        ),
        ...(head === undefined ? [] : [line("Newest", `tick ${head.tick} of major ${epochOf(head)}, ${head.digest}`)]),
        ...importedLines(genesis?.imported),
        line("Registry Key", `${hex(file.registryPublicKey)}, as the file says`),
        line("Read It With", `godwit verify --file ${path}`),
      ];
    }
    case "evidence": {
      const { headers, registryPublicKey } = inspection.evidence;
      return [
        line("File", "evidence of Godwit: two checkpoints, to prove that a host has signed both"),
        ...headers.map(({ payload }) => {
          const { agentId, tick, ...term } = readHeader(payload);
          return line("Checkpoint", `agent ${agentId}, tick ${tick} of major ${epochOf(term)}, ${digestOf(payload)}`);
        }),
        line("Registry Key", `${hex(registryPublicKey)}, as the file says`),
        line("Read It With", `godwit evidence --check ${path} --registry-key KEY`),
      ];
    }
  }
}

export function inspectionJson(inspection: Inspection): object {
  const { kind } = inspection;
  switch (kind) {
    case "seed-checkpoint": {
      const { checkpoint, signature, isOfModule, bytes } = inspection;
      return { kind, ...seedCheckpointJson(checkpoint), signature, isOfModule, bytes, ...stateJson(checkpoint.state) };
    }
    case "checkpoint": {
      const { checkpoint, genesis, verified, isOfModule, bytes } = inspection;
      const { grant: _, genesis: __, ...header } = checkpoint.header;
      const signature =
        verified.kind === "broken" ? { kind: "broken", reason: verified.reason } : { kind: verified.kind };
      const signer = verified.kind === "holds" ? verified.by.signerHostId : undefined;
      const about = { verified: signature, signer, isOfModule, bytes };
      return {
        kind,
        digest: checkpoint.digest,
        ...header,
        genesisOf: genesis,
        ...about,
        ...stateJson(checkpoint.state),
      };
    }
    case "lineage": {
      const { report, file } = inspection;
      const { agentId, head, genesis } = report;
      return { kind, headers: file.headers.length, agentId, head, genesis, registryKey: file.registryPublicKey };
    }
    case "evidence": {
      const { headers, registryPublicKey } = inspection.evidence;
      return {
        kind,
        checkpoints: headers.map(({ payload }) => {
          const { agentId, era, major, tick } = readHeader(payload);
          return { agentId, era, major, tick, digest: digestOf(payload) };
        }),
        registryKey: registryPublicKey,
      };
    }
  }
}

/** Everything but its state. */
export function seedCheckpointJson({ state, custody, lease, ...checkpoint }: SeedCheckpoint): object {
  return {
    ...checkpoint,
    stateBytes: state.length,
    ...lease,
    publicKey: custody?.publicKey,
    previous: custody?.previous,
  };
}

/** Of an agent that was taken over. */
export function importedText({ format, tick, digest, publicKey, receiptsDigest }: Imported): string {
  const signed = publicKey === undefined ? "not signed" : `signed by key ${publicKey}`;
  const receipts = receiptsDigest === undefined ? "" : `, with receipts ${receiptsDigest}`;
  return `a checkpoint of the seed system, format ${format}, tick ${tick}, ${digest}, ${signed}${receipts}`;
}

function seedText({ checkpoint, bytes, signature, isOfModule }: SeedInspection): readonly string[] {
  const { format, lease, custody, state, headerBytes } = checkpoint;
  const note = format === 2 ? " (of the time before the module's digest was in it, this is no digest)" : "";
  return [
    line("File", "a checkpoint of the seed system"),
    line("Version", `${format}`),
    line("Budget", money(checkpoint.budget)),
    line("Price/Second", money(checkpoint.pricePerSecond)),
    line("Tick Number", `${checkpoint.tick}`),
    line("WASM Hash", `${checkpoint.moduleDigest}${note}`),
    ...moduleLines(isOfModule),
    ...(lease === undefined
      ? []
      : [
          line("Epoch", `(${lease.major},${lease.generation})`),
          line("Lease Expiry", lease.endsAtNs === undefined ? "(none)" : timeOf(lease.endsAtNs)),
        ]),
    ...(custody === undefined
      ? []
      : [
          line("Agent Key", custody.publicKey),
          line("Prev Hash", custody.previous ?? "(none)"),
          line("Signature", signature === "valid" ? "VALID, by that key" : "INVALID"),
        ]),
    line("Header Size", `${headerBytes} bytes`),
    line("Total Size", `${bytes} bytes`),
    line("State Size", `${state.length} bytes`),
    line("Digest", checkpoint.digest),
    ...hexDump(state),
  ];
}

function checkpointText({ checkpoint, bytes, genesis, verified, isOfModule }: CheckpointInspection): readonly string[] {
  const { header, digest, state, signed } = checkpoint;
  const signature = {
    "not-checked": () => "not checked: give --registry-key",
    holds: () => `VALID, by host ${verified.kind === "holds" ? verified.by.signerHostId : ""}`,
    broken: () => `INVALID: ${verified.kind === "broken" ? verified.reason : ""}`,
  };
  return [
    line("File", "a checkpoint of Godwit"),
    line("Version", "1"),
    line("Agent", `${header.agentId}${genesis === undefined ? "" : ` (${genesis.name})`}`),
    line("Budget", money(header.budget)),
    line("Price/Second", money(header.pricePerSecond)),
    line("Tick Number", `${header.tick}`),
    line("WASM Hash", header.moduleDigest),
    ...moduleLines(isOfModule),
    line("Manifest Hash", header.manifestDigest),
    line("Epoch", `(${epochOf(header)},${header.generation})`),
    line("Origin", originOf(header)),
    line("Prev Hash", header.previous ?? "(none)"),
    ...importedLines(genesis?.imported),
    ...(header.base === undefined
      ? []
      : [line("Base", `tick ${header.base.tick} of major ${epochOf(header.base)}, ${header.base.digest}`)]),
    line("Receipts", `${header.receipts.length}`),
    line("Written", timeOf(header.writtenAtNs)),
    line("Signature", signature[verified.kind]()),
    line("Header Size", `${signed.payload.length} bytes`),
    line("Total Size", `${bytes} bytes`),
    line("State Size", `${state.length} bytes`),
    line("Digest", digest),
    ...hexDump(state),
  ];
}

function importedLines(imported: Imported | undefined): readonly string[] {
  return imported === undefined ? [] : [line("Goes On From", importedText(imported))];
}

function moduleLines(isOfModule: boolean | undefined): readonly string[] {
  if (isOfModule === undefined) return [];
  return [line("WASM Check", isOfModule ? "MATCH, of that module" : "MISMATCH, of another module")];
}

function originOf({ origin, rolledBackFromTick }: Header): string {
  return rolledBackFromTick === undefined ? origin : `${origin}, rolled back from tick ${rolledBackFromTick}`;
}

/** Nothing for an empty state. */
function hexDump(state: Uint8Array): readonly string[] {
  if (state.length === 0) return [];
  const lines = ["Hex Dump:"];
  const end = Math.min(state.length, MAX_DUMPED_BYTES);
  for (let at = 0; at < end; at += ROW_BYTES) {
    const row = [...state.subarray(at, Math.min(at + ROW_BYTES, end))];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`  ${at.toString(16).padStart(8, "0")}  ${digits.padEnd(ROW_BYTES * 3 - 1)}  ${text}`);
  }
  if (state.length > end) lines.push(`  and ${state.length - end} more bytes`);
  return lines;
}

function stateJson(state: Uint8Array): object {
  return { stateBytes: state.length, stateDigest: digestOf(state), stateStart: state.subarray(0, MAX_DUMPED_BYTES) };
}

function line(label: string, value: string): string {
  return `${`${label}:`.padEnd(LABEL_CHARS)}${value}`;
}

function money(amount: bigint): string {
  return `${formatMoney(amount)} units (${amount} microcents)`;
}

function epochOf({ era, major }: { readonly era: bigint; readonly major: bigint }): string {
  return era === 0n ? `${major}` : `${era}.${major}`;
}

/** A number in a file may be any: what no calendar has is shown as it is. */
function timeOf(unixNs: bigint): string {
  const ms = Number(unixNs / NS_PER_MS);
  return Number.isNaN(new Date(ms).getTime()) ? `${unixNs} ns since 1970` : formatTime(unixNs);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
