// Modules and manifests that no agent needs any more leave the data directory: at the start, when nothing that was being
// staged is left of the process before, and now and then (T-25; src/storage/blobs.ts has the rules).

import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { Logger } from "pino";
import type { DataDirectory } from "./storage/index.ts";

export interface BlobCollectionParts {
  readonly storage: Pick<DataDirectory, "collectBlobs">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface BlobCollectionRules {
  readonly everyMs: number;
}

export const defaultBlobCollectionRules: BlobCollectionRules = { everyMs: 600_000 };

export class BlobCollection {
  readonly #parts: BlobCollectionParts;
  readonly #rules: BlobCollectionRules;
  #running = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: BlobCollectionParts, rules: BlobCollectionRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    this.#loop = this.#run(this.#running.signal);
  }

  async stop(): Promise<void> {
    this.#running.abort(new Fault({ code: "SHUTTING_DOWN" }));
    await this.#loop;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    while (!signal.aborted) {
      await this.#collect();
      await clock.sleep(this.#rules.everyMs, signal).catch(() => {}); // the loop asks the signal
    }
  }

  async #collect(): Promise<void> {
    const { storage, logger } = this.#parts;
    try {
      const dropped = await storage.collectBlobs();
      if (dropped > 0) logger.info({ dropped }, "modules and manifests that no agent needs are gone");
    } catch (err) {
      logger.warn({ err }, "what no agent needs stays until the next collection");
    }
  }
}
