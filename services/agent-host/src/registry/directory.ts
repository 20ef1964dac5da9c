// The registry's host directory as this host uses it: to tell who it is, to find targets, and to know its peers.

import type { Clock } from "@godwit/common/clock";
import { isFault } from "@godwit/common/fault";
import { client, type RpcChannel, type ServiceClient } from "@godwit/grpc";
import { DirectoryService, type Host, Outcome } from "@godwit/proto/godwit/registry/v1/directory";
import type { Logger } from "pino";
import { caller } from "./grpc-authority.ts";
import type { SessionView } from "./ports.ts";

/** What a host tells of itself. */
export interface HostProfile {
  readonly hostId: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly grpcAddress: string;
  readonly capabilities: readonly string[];
  readonly pricePerSecond: bigint;
  readonly labels: Readonly<Record<string, string>>;
  readonly maxMemoryBytes: bigint;
}

/** Another host, as the directory has it. */
export interface KnownHost {
  readonly hostId: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly grpcAddress: string;
  readonly capabilities: readonly string[];
  /** Microcents; `undefined` when it never told. */
  readonly pricePerSecond: bigint | undefined;
  readonly live: boolean;
  readonly draining: boolean;
}

export interface CandidateQuery {
  readonly maxPricePerSecond: bigint | undefined;
  readonly requiredCapabilities: readonly string[];
  readonly excludedHostIds: readonly string[];
  readonly limit: number;
}

export interface DirectoryParts {
  readonly channel: RpcChannel;
  readonly session: SessionView;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long a host that was found is known without asking again. */
const knownForMs = 5_000;
const maxKnown = 10_000;

export class HostDirectory {
  readonly #parts: DirectoryParts;
  readonly #calls: ServiceClient<typeof DirectoryService>;
  readonly #known = new Map<string, { readonly host: KnownHost; readonly atMs: number }>();

  constructor(parts: DirectoryParts) {
    this.#parts = parts;
    this.#calls = client(parts.channel, DirectoryService);
  }

  /** Throws Fault when there is no session or no answer. */
  async register(profile: HostProfile): Promise<void> {
    const session = this.#parts.session.current;
    if (session === undefined) return; // the next session registers it
    await this.#calls.registerHost({
      caller: caller(session),
      incarnation: session.incarnation,
      info: { ...profile, addresses: [...profile.addresses], capabilities: [...profile.capabilities] },
    });
  }

  /** GH-7. */
  async candidates(query: CandidateQuery, signal: AbortSignal): Promise<readonly KnownHost[]> {
    const { hosts } = await this.#calls.selectCandidates(
      {
        maxPricePerSecond: query.maxPricePerSecond ?? 0n,
        requiredCapabilities: [...query.requiredCapabilities],
        excludedHostIds: [...query.excludedHostIds],
        limit: query.limit,
      },
      { signal },
    );
    return hosts.flatMap((host) => this.#remember(host) ?? []);
  }

  async list(signal: AbortSignal): Promise<readonly KnownHost[]> {
    const found: KnownHost[] = [];
    let pageToken = "";
    do {
      const page = await this.#calls.listHosts({ pageSize: 1_000, pageToken }, { signal });
      found.push(...page.hosts.flatMap((host) => this.#remember(host) ?? []));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return found;
  }

  /** `undefined`: the registry does not know it. Throws Fault when the registry does not answer. */
  async get(hostId: string, signal: AbortSignal): Promise<KnownHost | undefined> {
    const known = this.#known.get(hostId);
    if (known !== undefined && this.#parts.clock.monotonicMs() - known.atMs < knownForMs) return known.host;
    try {
      const { host } = await this.#calls.getHost({ hostId }, { signal });
      return host === undefined ? undefined : this.#remember(host);
    } catch (cause) {
      if (isFault(cause, "HOST_UNKNOWN")) return undefined;
      throw cause;
    }
  }

  /** Shared health (GH-7); its own failure changes nothing here. */
  reportOutcome(hostId: string, outcome: "success" | "failure"): void {
    const session = this.#parts.session.current;
    if (session === undefined) return;
    this.#calls
      .reportOutcome({
        caller: caller(session),
        incarnation: session.incarnation,
        hostId,
        outcome: outcome === "success" ? Outcome.SUCCESS : Outcome.FAILURE,
      })
      .catch((err: unknown) => this.#parts.logger.warn({ err, hostId }, "outcome not reported"));
  }

  #remember({ info, live, draining }: Host): KnownHost | undefined {
    if (info === undefined) return undefined;
    const { hostId, name, addresses, grpcAddress, capabilities, pricePerSecond } = info;
    const host: KnownHost = {
      hostId,
      name,
      addresses,
      grpcAddress,
      capabilities,
      pricePerSecond: pricePerSecond === 0n ? undefined : pricePerSecond,
      live,
      draining,
    };
    if (this.#known.size >= maxKnown) this.#known.clear();
    this.#known.set(hostId, { host, atMs: this.#parts.clock.monotonicMs() });
    return host;
  }
}
