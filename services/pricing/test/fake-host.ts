import { randomBytes } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { systemClock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { GrpcServer, type ServiceHandlers, serve } from "@godwit/grpc";
import { hostIdOf, type Signer, seal, signerFromSeed } from "@godwit/lineage";
import { HostService } from "@godwit/proto/godwit/host/v1/host";
import { PriceStatementSchema } from "@godwit/proto/godwit/pricing/v1/pricing";

export type Behaviour = "answers" | "hangs" | "lies about its id" | "refuses" | "asks for nonsense";

export interface Stated {
  readonly pricePerSecond: bigint;
  readonly statedAtUnixNs: bigint;
  /** Where it listens, when unset. */
  readonly grpcAddress?: string;
  /** Itself, when unset. */
  readonly hostId?: string;
}

/** A host as pricing sees it: a real gRPC server with a key of its own, and the price that the test gives it. */
export class FakeHost implements AsyncDisposable {
  readonly hostId: string;
  pricePerSecond = 1n;
  behaviour: Behaviour = "answers";
  /** How often it was asked, and how many of those who asked are still waiting. */
  asked = 0;
  waiting = 0;
  readonly #signer: Signer = signerFromSeed(new Uint8Array(randomBytes(32)));
  readonly #server: GrpcServer;

  static async start(): Promise<FakeHost> {
    const host = new FakeHost();
    await host.#server.start();
    return host;
  }

  private constructor() {
    this.hostId = hostIdOf(this.#signer.publicKey);
    const parts = { services: [serve(HostService, this.#handlers())], clock: systemClock, onError: console.error };
    this.#server = new GrpcServer(parts, { host: "127.0.0.1", port: 0, stopWithinMs: 100 });
  }

  get grpcAddress(): string {
    return this.#server.address;
  }

  get target() {
    return { hostId: this.hostId, grpcAddress: this.grpcAddress };
  }

  /** What this host would report. */
  state({ pricePerSecond, statedAtUnixNs, grpcAddress = this.grpcAddress, hostId = this.hostId }: Stated) {
    const fields = { hostId, pricePerSecond, grpcAddress, statedAtUnixNs };
    const payload = toBinary(PriceStatementSchema, create(PriceStatementSchema, fields));
    const { signature } = seal("price-statement", payload, this.#signer);
    return { statement: payload, signature };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
  }

  #handlers(): ServiceHandlers<typeof HostService> {
    const refuse = () => {
      throw new Fault({ code: "NOT_READY", reason: "this host only knows its price" });
    };
    const others = Object.fromEntries(HostService.methods.map(({ localName }) => [localName, refuse]));
    const getPrice: ServiceHandlers<typeof HostService>["getPrice"] = async (_, { signal }) => {
      this.asked++;
      if (this.behaviour === "refuses") throw new Fault({ code: "SHUTTING_DOWN" });
      if (this.behaviour === "hangs") await this.#hang(signal);
      if (this.behaviour === "asks for nonsense") return { hostId: this.hostId, pricePerSecond: 2n ** 64n - 1n };
      const hostId = this.behaviour === "lies about its id" ? "12D3KooWsomebodyElse" : this.hostId;
      return { hostId, pricePerSecond: this.pricePerSecond };
    };
    return { ...others, getPrice } as unknown as ServiceHandlers<typeof HostService>;
  }

  async #hang(signal: AbortSignal): Promise<void> {
    this.waiting++;
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    this.waiting--;
  }
}
