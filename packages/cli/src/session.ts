// The services that one command talks to. Channels are opened when they are first used and closed with the command.

import type { DescService } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import { type ClientTls, client, GrpcChannel, type ServiceClient } from "@godwit/grpc";
import { HostService } from "@godwit/proto/godwit/host/v1/host";
import { PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";
import { AuthorityService } from "@godwit/proto/godwit/registry/v1/authority";
import { DirectoryService } from "@godwit/proto/godwit/registry/v1/directory";
import { SessionService } from "@godwit/proto/godwit/registry/v1/session";
import type { Connections, HostAddresses } from "./connections.ts";
import { firstOf, type Preference } from "./replicas.ts";

export interface SessionRules extends Connections {
  /** By default a host is called where the directory says. */
  readonly hostAddresses?: HostAddresses;
  /** By default plain text. */
  readonly tls?: ClientTls | undefined;
  /** Of each call that says nothing else. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The whole answer of a host may take long: a lineage, or many agents. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

export class Session implements Disposable {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly #rules: SessionRules;
  readonly #channels = new Map<string, GrpcChannel>();
  /** In the order in which they are tried. */
  readonly #registries: readonly string[];
  readonly #preference: Preference = { index: 0 };

  constructor(rules: SessionRules) {
    this.#rules = rules;
    this.#registries = rules.registry.split(",");
    this.signal = rules.signal;
    this.timeoutMs = rules.timeoutMs;
  }

  get authority(): ServiceClient<typeof AuthorityService> {
    return this.#registry(AuthorityService);
  }

  get directory(): ServiceClient<typeof DirectoryService> {
    return this.#registry(DirectoryService);
  }

  get sessions(): ServiceClient<typeof SessionService> {
    return this.#registry(SessionService);
  }

  get pricing(): ServiceClient<typeof PricingService> {
    return client(this.#channel(this.#rules.pricing), PricingService);
  }

  /** `address`: host:port of a host's gRPC, as the registry's directory has it. */
  host(address: string): ServiceClient<typeof HostService> {
    return client(this.#channel(this.#rules.hostAddresses?.get(address) ?? address), HostService);
  }

  /** Options of a call. */
  call(timeoutMs: number = this.timeoutMs): { readonly signal: AbortSignal; readonly timeoutMs: number } {
    return { signal: this.signal, timeoutMs };
  }

  /** The same error, with what to do when nobody listens at an address. */
  explain(error: unknown): unknown {
    if (!isFault(error, "RPC_FAILED") || error.detail.status !== "UNAVAILABLE") return error;
    const { target } = error.detail;
    const { pricing } = this.#rules;
    if (this.#registries.includes(target)) {
      const reason = `nothing answers at ${this.#registries.join(", ")}; start a cluster with npm start, or say where it is with --registry`;
      return new Fault({ code: "REGISTRY_UNAVAILABLE", reason }, { cause: error });
    }
    const what = target === pricing ? "pricing" : target;
    const reason = `nothing answers at ${target}${target === pricing ? "; --pricing says where it is" : ""}`;
    return new Fault({ code: "PEER_UNREACHABLE", hostId: what, reason }, { cause: error });
  }

  [Symbol.dispose](): void {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }

  #registry<S extends DescService>(service: S): ServiceClient<S> {
    const replicas = this.#registries.map((address) => client(this.#channel(address), service));
    return firstOf(service, replicas, this.#preference);
  }

  #channel(target: string): GrpcChannel {
    const known = this.#channels.get(target);
    if (known !== undefined) return known;
    const { timeoutMs } = this;
    const { tls } = this.#rules;
    const channel = new GrpcChannel({ target, tls, timeoutMs, maxMessageBytes: MAX_MESSAGE_BYTES });
    this.#channels.set(target, channel);
    return channel;
  }
}
