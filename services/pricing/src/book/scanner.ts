import { type Clock, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { checkMoney, type Microcents } from "@godwit/common/money";
import { type PriceAnswer, unixNs } from "./price.ts";

/** How a host is asked for its price; the network implements it. */
export interface HostPrices {
  /** Rejects with a Fault, or with the signal's reason. */
  ask(
    target: ScanTarget,
    signal: AbortSignal,
  ): Promise<{ readonly hostId: string; readonly pricePerSecond: Microcents }>;
}

export interface ScanTarget {
  readonly hostId: string;
  readonly grpcAddress: string;
}

export interface Missing extends ScanTarget {
  /** Why there is no price. */
  readonly fault: Fault;
}

export interface Scan {
  /** Cheapest first, then by host id. */
  readonly answers: readonly PriceAnswer[];
  readonly missing: readonly Missing[];
}

export interface ScannerParts {
  readonly hosts: HostPrices;
  readonly clock: Clock;
}

export interface ScannerRules {
  /** How many are asked at once. */
  readonly concurrency: number;
}

/**
 * Asks many hosts at once, each for as long as `timeoutMs` from when it was asked, and never fails for one of them: whoever gave no
 * price is in `missing`, with the reason. Rejects only with the signal's own reason.
 */
export class Scanner {
  readonly #hosts: HostPrices;
  readonly #clock: Clock;
  readonly #concurrency: number;

  constructor({ hosts, clock }: ScannerParts, { concurrency }: ScannerRules) {
    this.#hosts = hosts;
    this.#clock = clock;
    this.#concurrency = concurrency;
  }

  async scan(targets: readonly ScanTarget[], timeoutMs: number, signal: AbortSignal): Promise<Scan> {
    const answers: PriceAnswer[] = [];
    const missing: Missing[] = [];
    const waiting = targets[Symbol.iterator]();
    const askInTurn = async () => {
      for (const target of waiting) {
        const result = await this.#ask(target, timeoutMs, signal);
        if (isFault(result)) missing.push({ ...target, fault: result });
        else answers.push(result);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#concurrency, targets.length) }, askInTurn));
    return { answers: answers.sort(byPrice), missing: missing.sort(byHostId) };
  }

  async #ask(target: ScanTarget, timeoutMs: number, signal: AbortSignal): Promise<PriceAnswer | Fault> {
    const { hostId, grpcAddress } = target;
    try {
      const deadline = { what: `the price of host ${hostId}`, ms: timeoutMs, signal };
      const answer = await withDeadline(this.#clock, deadline, (limited) => this.#hosts.ask(target, limited));
      if (answer.hostId !== hostId) {
        const reason = `${grpcAddress} answers as host ${answer.hostId.slice(0, 64)}: ask the registry for its address`;
        return new Fault({ code: "PEER_UNREACHABLE", hostId, reason });
      }
      return {
        hostId,
        grpcAddress,
        pricePerSecond: checkMoney(answer.pricePerSecond, "price_per_second"),
        seenAtUnixNs: unixNs(this.#clock.now()),
        heardAtMs: this.#clock.monotonicMs(),
      };
    } catch (error) {
      signal.throwIfAborted();
      if (isFault(error)) return error;
      throw error;
    }
  }
}

function byPrice(a: PriceAnswer, b: PriceAnswer): number {
  return a.pricePerSecond < b.pricePerSecond ? -1 : a.pricePerSecond > b.pricePerSecond ? 1 : byHostId(a, b);
}

function byHostId(a: ScanTarget, b: ScanTarget): number {
  return a.hostId < b.hostId ? -1 : a.hostId > b.hostId ? 1 : 0;
}
