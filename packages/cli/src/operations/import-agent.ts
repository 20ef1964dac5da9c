// Taking an agent of the seed system over: its files are looked at here, so that what is wrong with them is said before anything is
// sent; the host that is to run it checks them again, and believes nobody.

import { Fault } from "@godwit/common/fault";
import { formatMoney, MAX_MICROCENTS } from "@godwit/common/money";
import {
  checkSeedReceipts,
  decodeSeedCheckpoint,
  type SeedCheckpoint,
  type SeedReceiptSummary,
} from "@godwit/lineage/seed";
import { formatTime } from "../print/format.ts";
import type { Session } from "../session.ts";
import { readCarried } from "./files.ts";
import { nameFromFile, type RunRequest, readProgram, type StartedAgent, startAgent } from "./run-agent.ts";

export interface ImportRequest extends Omit<RunRequest, "budget"> {
  readonly checkpointPath: string;
  readonly receiptsPath: string | undefined;
  /** By default what the checkpoint has. */
  readonly budget: bigint | undefined;
  /** The Ed25519 key that must have signed it, in hex. */
  readonly key: string | undefined;
  /** Wall time, to tell whether a lease of the seed may still run. */
  readonly now: Date;
}

export interface ImportedAgent extends StartedAgent {
  readonly checkpoint: SeedCheckpoint;
  /** `undefined`: none were given. */
  readonly receipts: SeedReceiptSummary | undefined;
  /** What whoever takes it over should know. */
  readonly remarks: readonly string[];
}

const CHECKPOINT = /\.checkpoint$/;

export async function importAgent(session: Session, request: ImportRequest): Promise<ImportedAgent> {
  const file = readCarried(request.checkpointPath);
  const checkpoint = readCheckpoint(file, request);
  const receiptsFile = request.receiptsPath === undefined ? undefined : readCarried(request.receiptsPath);
  const receipts = receiptsFile && summaryOf(receiptsFile, checkpoint);
  const upload = {
    name: request.name ?? nameFromFile(request.checkpointPath, CHECKPOINT),
    budget: request.budget ?? checkpoint.budget,
    ...readProgram(request),
    checkpoint: file,
    receipts: receiptsFile,
  };
  const started = await startAgent(session, upload, request.host);
  return { ...started, checkpoint, receipts, remarks: remarksOn(checkpoint, receipts, request) };
}

function readCheckpoint(file: Uint8Array, { budget, key }: ImportRequest): SeedCheckpoint {
  const checkpoint = decodeSeedCheckpoint(file, { negativeBudget: "kept" });
  if ((budget ?? 0n) === 0n && checkpoint.budget < 0n) {
    const reason = `the checkpoint's is ${formatMoney(checkpoint.budget)} units, since its money ran out: say with --budget what it gets`;
    throw new Fault({ code: "BUDGET_INVALID", reason });
  }
  if (budget === undefined && checkpoint.budget > MAX_MICROCENTS) {
    const reason = `the checkpoint's is ${formatMoney(checkpoint.budget)} units, more than any agent has: give another with --budget`;
    throw new Fault({ code: "BUDGET_INVALID", reason });
  }
  const signer = checkpoint.custody?.publicKey;
  if (key !== undefined && key !== signer) {
    const is = signer === undefined ? `not signed in its format ${checkpoint.format}` : `of key ${signer}`;
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: `it is ${is}, and --key asks for ${key}` });
  }
  return checkpoint;
}

function summaryOf(receipts: Uint8Array, checkpoint: SeedCheckpoint): SeedReceiptSummary {
  const checking = checkSeedReceipts(receipts, checkpoint);
  for (;;) {
    const step = checking.next();
    if (step.done) return step.value;
  }
}

function remarksOn(
  { custody, format, lease, tick, budget }: SeedCheckpoint,
  receipts: SeedReceiptSummary | undefined,
  request: ImportRequest,
): readonly string[] {
  const remarks: string[] = [];
  if (custody === undefined)
    remarks.push(`format ${format} is not signed: that this is the agent's is your word alone`);
  else if (request.key === undefined) {
    remarks.push(`it is signed by key ${custody.publicKey}: --key refuses every other`);
  }
  const endsAtNs = lease?.endsAtNs;
  if (endsAtNs !== undefined && endsAtNs > BigInt(request.now.getTime()) * 1_000_000n) {
    remarks.push(`its host of the seed system has a lease until ${formatTime(endsAtNs)}: make sure that it is stopped`);
  }
  if (request.budget !== undefined && request.budget !== budget) {
    remarks.push(`it had ${formatMoney(budget)} units, and goes on with ${formatMoney(request.budget)}`);
  }
  if (receipts === undefined) return remarks;
  if (receipts.lastTick < tick) remarks.push(`no receipts cover ticks ${receipts.lastTick + 1n} to ${tick}`);
  if (receipts.unexplained > 0n) {
    remarks.push(`${formatMoney(receipts.unexplained)} units went without a receipt, as after a crash of its host`);
  }
  return remarks;
}
