// What this host tells the world of itself: to the registry's directory with each session, to pricing's book, and again when
// something changes. Also hears whether an operator is draining it.

import type { Clock } from "@godwit/common/clock";
import type { Logger } from "pino";
import { causeFields } from "./agents/cause-fields.ts";
import type { PricingClient } from "./pricing-client.ts";
import type { HostDirectory } from "./registry/directory.ts";
import type { SessionKeeper } from "./registry/session-keeper.ts";

export interface SelfEntryParts {
  readonly directory: HostDirectory;
  readonly pricing: PricingClient | undefined;
  readonly keeper: SessionKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SelfFacts {
  readonly hostId: string;
  readonly name: string;
  readonly capabilities: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly maxMemoryBytes: bigint;
  /** Microcents a second, at the start. */
  readonly price: bigint;
  readonly addresses: () => readonly string[];
  readonly grpcAddress: () => string;
}

const lookEveryMs = 3_000;
const retryMs = 500;

export class SelfEntry {
  readonly #parts: SelfEntryParts;
  readonly #facts: SelfFacts;
  #price: bigint;
  #isDraining = false;
  #told = { registry: false, pricing: false };
  #running = new AbortController();
  #wake = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: SelfEntryParts, facts: SelfFacts) {
    this.#parts = parts;
    this.#facts = facts;
    this.#price = facts.price;
    parts.keeper.on("opened", () => this.#tellAgain());
    parts.keeper.on("brought-over", () => this.#tellAgain());
  }

  get price(): bigint {
    return this.#price;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  async setPrice(price: bigint): Promise<void> {
    this.#price = price;
    this.#tellAgain();
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    this.#loop = this.#run(this.#running.signal);
  }

  async stop(): Promise<void> {
    this.#running.abort();
    await this.#loop;
  }

  #tellAgain(): void {
    this.#told = { registry: false, pricing: false };
    this.#wake.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const told = await this.#tell();
      if (told) await this.#look(signal);
      const either = AbortSignal.any([signal, this.#wake.signal]);
      await this.#parts.clock.sleep(told ? lookEveryMs : retryMs, either).catch(() => {});
      if (this.#wake.signal.aborted) this.#wake = new AbortController();
    }
  }

  /** Whether everybody knows. */
  async #tell(): Promise<boolean> {
    const { directory, pricing, keeper, logger } = this.#parts;
    if (keeper.current === undefined) return false;
    const { hostId, name, capabilities, labels, maxMemoryBytes } = this.#facts;
    const pricePerSecond = this.#price;
    const grpcAddress = this.#facts.grpcAddress();
    try {
      if (!this.#told.registry) {
        const addresses = this.#facts.addresses();
        const profile = { hostId, name, addresses, grpcAddress, capabilities, pricePerSecond, labels, maxMemoryBytes };
        await directory.register(profile);
        this.#told.registry = true;
      }
      if (!this.#told.pricing) {
        await pricing?.report({ hostId, pricePerSecond, grpcAddress });
        this.#told.pricing = true;
      }
      return true;
    } catch (err) {
      logger.info({ ...causeFields(err), told: this.#told }, "not told yet, trying again");
      return false;
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    try {
      this.#isDraining = (await this.#parts.directory.get(this.#facts.hostId, signal))?.draining ?? false;
    } catch {
      // The registry does not answer: what it said last holds.
    }
  }
}
