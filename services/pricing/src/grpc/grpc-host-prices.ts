import { Fault, isFault } from "@godwit/common/fault";
import { type ClientTls, client, GrpcChannel } from "@godwit/grpc";
import { HostService } from "@godwit/proto/godwit/host/v1/host";
import type { HostPrices, ScanTarget } from "../book/scanner.ts";

export interface GrpcHostPricesRules {
  readonly tls: ClientTls | undefined;
  /** No question lasts longer, whatever its signal says. */
  readonly timeoutMs: number;
}

/** A price answer is a few bytes; whoever sends more is not worth reading. */
const MAX_ANSWER_BYTES = 4_096;

/** Asks hosts over a connection of its own each time: addresses come and go, and a dead one must not be waited for later. */
export class GrpcHostPrices implements HostPrices {
  readonly #rules: GrpcHostPricesRules;

  constructor(rules: GrpcHostPricesRules) {
    this.#rules = rules;
  }

  async ask({ hostId, grpcAddress }: ScanTarget, signal: AbortSignal) {
    using channel = new GrpcChannel({ ...this.#rules, target: grpcAddress, maxMessageBytes: MAX_ANSWER_BYTES });
    try {
      const answer = await client(channel, HostService).getPrice({}, { signal });
      return { hostId: answer.hostId, pricePerSecond: answer.pricePerSecond };
    } catch (error) {
      if (isFault(error, "RPC_FAILED") && error.detail.status === "UNAVAILABLE") {
        const { message } = error.detail;
        throw new Fault({ code: "PEER_UNREACHABLE", hostId, reason: message }, { cause: error });
      }
      throw error;
    }
  }
}
