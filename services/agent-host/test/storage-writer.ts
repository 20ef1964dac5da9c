// A host's writes without the host, as a process that can be killed: `node storage-writer.ts DIRECTORY WRITES`.
// It goes on from what it finds, tells of every unit that was acknowledged, and never ends by itself before WRITES units.

import { writeSync } from "node:fs";
import { systemClock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { type Checkpoint, digestOf, refOf } from "@godwit/lineage";
import { DataDirectory, type WriteUnit } from "../src/storage/index.ts";
import { ada, createAgent, grantOf, next } from "./storage-story.ts";

const AGENTS = 4;

const [directoryPath = "", writes = "0", maxBytes] = process.argv.slice(2);

function say(line: string): void {
  writeSync(1, `${line}\n`); // at once: what was said before the kill counts
}

/** Checkpoint, journal, receipts and module name each other, so that half a unit would show. */
function unitOf(checkpoint: Checkpoint, moduleDigest: string): WriteUnit {
  const { agentId, era, major, tick } = checkpoint.header;
  const grant = grantOf(agentId, { era, major }, ada);
  return {
    agentId,
    agent: { name: `at tick ${tick}`, moduleDigest, manifestDigest: "b".repeat(64) },
    checkpoint,
    receipts: [new TextEncoder().encode(checkpoint.digest)],
    journal: { phase: "owner", bootId: ada.bootId, era, major, grant, unconfirmedBase: refOf(checkpoint) },
  };
}

async function live(directory: DataDirectory, nonce: number): Promise<void> {
  let last = await directory.latestCheckpoint(createAgent(ada, { nonce }).header.agentId);
  for (let written = 0; written < Number(writes); written++) {
    const text = `${written} `.repeat(1 + ((written * 7919 + nonce) % 60_000));
    last = last === undefined ? createAgent(ada, { nonce }) : next(last, { host: ada, text });
    const module = new TextEncoder().encode(`module of ${last.digest}`);
    using _held = directory.holdBlobs(digestOf(module));
    await directory.commit(unitOf(last, await directory.putBlob(module)));
    if (written % 4 === nonce % 4) {
      say(`loose ${await directory.putBlob(new TextEncoder().encode(`needed by nobody, beside ${last.digest}`))}`);
      await directory.collectBlobs();
    }
    say(`held ${last.header.agentId} ${last.header.tick}`);
  }
}

say("opening");
try {
  const directory = await DataDirectory.open(directoryPath, {
    clock: systemClock,
    rules: { keepHeaders: 50, keepStates: 2, ...(maxBytes === undefined ? {} : { maxBytes: Number(maxBytes) }) },
  });
  say(`open ${Buffer.from(directory.hostSeed).toString("hex")}`);
  const lives = await Promise.allSettled(Array.from({ length: AGENTS }, (_, nonce) => live(directory, nonce + 1)));
  for (const ended of lives) if (ended.status === "rejected") say(`failed ${codeOf(ended.reason)}`);
  say(`broken ${directory.broken === undefined ? "no" : "yes"}`);
  await directory.close().catch((cause: unknown) => say(`close failed ${codeOf(cause)}`));
} catch (cause) {
  say(`failed ${codeOf(cause)} ${cause instanceof Error ? cause.message : ""}`);
}

function codeOf(cause: unknown): string {
  return isFault(cause) ? cause.code : String(cause);
}
