// What this host tells pricing, and asks of it ("A price" in the architecture). Pricing is never needed to go on: a scan
// falls back to the hosts that answer, and a price that could not be told is told with the next session.

import { create, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "@godwit/common/clock";
import { client, type RpcChannel, type ServiceClient } from "@godwit/grpc";
import { type Signer, seal } from "@godwit/lineage";
import type { Price } from "@godwit/migration";
import { PriceStatementSchema, PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";

export interface PricingClientParts {
  readonly channel: RpcChannel;
  readonly signer: Signer;
  readonly clock: Clock;
}

export class PricingClient {
  readonly #parts: PricingClientParts;
  readonly #calls: ServiceClient<typeof PricingService>;

  constructor(parts: PricingClientParts) {
    this.#parts = parts;
    this.#calls = client(parts.channel, PricingService);
  }

  /** Throws Fault when pricing does not take it. */
  async report(statement: { hostId: string; pricePerSecond: bigint; grpcAddress: string }): Promise<void> {
    const statedAtUnixNs = BigInt(this.#parts.clock.now().getTime()) * 1_000_000n;
    const bytes = toBinary(PriceStatementSchema, create(PriceStatementSchema, { ...statement, statedAtUnixNs }));
    const { payload, signature } = seal("price-statement", bytes, this.#parts.signer);
    await this.#calls.reportPrice({ statement: payload, signature });
  }

  /** Those that answered. */
  async scan(
    targets: readonly { readonly hostId: string; readonly grpcAddress: string }[],
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<readonly Price[]> {
    const { prices } = await this.#calls.scanPrices(
      { targets: targets.map((target) => ({ ...target })), timeoutMs },
      { signal, timeoutMs: timeoutMs + 2_000 },
    );
    return prices.map(({ hostId, pricePerSecond }) => ({ hostId, pricePerSecond }));
  }
}
