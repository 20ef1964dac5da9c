// The graph of a registry: a store, the mark under which it works, and the services on top.

import { join } from "node:path";
import { type Clock, type Entropy, systemEntropy } from "@godwit/common/clock";
import type { ValuesOf } from "@godwit/common/config";
import { GrpcServer } from "@godwit/grpc";
import { type Part, part, type ServiceContext } from "@godwit/service";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { Agents } from "./authority/agents.ts";
import { Announcements } from "./authority/announcements.ts";
import { Authority } from "./authority/authority.ts";
import type { RegistryCrashPoint, RegistryCrashPoints } from "./authority/crash-points.ts";
import { Reassertions } from "./authority/reassertions.ts";
import { longestLeaseMs, type RegistryConfig, type RegistryOptions } from "./config.ts";
import { Directory } from "./directory/directory.ts";
import { EmbeddedStore } from "./embedded/embedded-store.ts";
import { authorityService } from "./grpc/authority-service.ts";
import { directoryService } from "./grpc/directory-service.ts";
import { sessionService } from "./grpc/session-service.ts";
import type { KeyStore } from "./mark/key-file.ts";
import { MarkKeeper } from "./mark/mark-keeper.ts";
import { createRegistryMetrics } from "./metrics.ts";
import { Offers } from "./offers/offers.ts";
import { RedisStore } from "./redis/redis-store.ts";
import { SessionWatch } from "./sessions/session-watch.ts";
import { Sessions } from "./sessions/sessions.ts";
import type { RegistryStore } from "./store/registry-store.ts";

export interface Ambient {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly crashPoints: RegistryCrashPoints;
  /** Where the signing key is; by default in its file. */
  readonly keys?: KeyStore;
}

/** Everything of a registry but its listeners. */
export interface RegistryGraph {
  readonly store: RegistryStore;
  readonly keeper: MarkKeeper;
  readonly authority: Authority;
  readonly agents: Agents;
  readonly services: ReturnType<typeof sessionService>[];
  readonly watch: SessionWatch;
  readonly offers: Offers;
}

export function createStore(
  config: RegistryConfig,
  { clock, entropy, logger }: Pick<Ambient, "clock" | "entropy" | "logger">,
): RegistryStore {
  const { redis, data, restored, redisTimeoutMs } = config;
  if (redis === undefined) {
    return new EmbeddedStore({ entropy, logger: logger.child({ part: "store" }) }, { dataDirectory: data, restored });
  }
  return new RedisStore({ clock, logger: logger.child({ part: "redis" }) }, { url: redis, timeoutMs: redisTimeoutMs });
}

export function keyFileOf({ key, data }: RegistryConfig): string {
  return key ?? join(data, "registry.key");
}

export function assemble(config: RegistryConfig, store: RegistryStore, ambient: Ambient): RegistryGraph {
  const { clock, entropy, crashPoints } = ambient;
  const logger = (name: string) => ambient.logger.child({ part: name });
  const metrics = createRegistryMetrics(ambient.metrics);
  const keeper = new MarkKeeper(
    { store, clock, entropy, keys: ambient.keys, metrics, logger: logger("mark") },
    { keyFile: keyFileOf(config), quarantineMs: config.quarantineMs ?? longestLeaseMs(config) },
  );
  const directory = new Directory({ store, keeper, clock }, config);
  const offers = new Offers(
    { store, keeper, directory, clock, metrics, logger: logger("offers") },
    {
      perSecond: config.offersPerSecond,
      nextHolderAfterMs: config.nextHolderAfterMs,
      scanEveryMs: config.offerScanEveryMs,
    },
  );
  const onClosed = offers.sessionClosed.bind(offers);
  const watch = new SessionWatch({ store, keeper, clock, metrics, onClosed, logger: logger("sessions") }, config);
  const sessions = new Sessions(
    { store, keeper, clock, metrics, onClosed, logger: logger("sessions") },
    { durationMs: config.leaseDurationMs, graceMs: config.leaseGraceMs, renewEveryMs: config.renewEveryMs },
  );
  const onOfferable = offers.agentReleased.bind(offers);
  const authority = new Authority({ store, keeper, clock, metrics, crashPoints, onOfferable });
  const agents = new Agents({ store, keeper });
  const announcements = new Announcements({ store, keeper });
  const reassertions = new Reassertions({
    store,
    sessions,
    keeper,
    clock,
    metrics,
    crashPoints,
    logger: logger("reassertions"),
  });
  return {
    store,
    keeper,
    authority,
    agents,
    watch,
    offers,
    services: [
      sessionService(sessions),
      authorityService({ authority, agents, announcements, reassertions, offers }),
      directoryService(directory, config),
    ],
  };
}

/** The loops of a registry, as parts that stop. */
export function loops({ store, keeper, watch, offers }: RegistryGraph): readonly Part[] {
  return [
    part("store", store),
    // The first look is waited for, so that a registry with a store serves from its first call on.
    looping("mark", { first: () => keeper.check(), run: (signal) => keeper.run(signal) }),
    looping("sessions", { run: (signal) => watch.run(signal) }),
    looping("offers", { run: (signal) => offers.run(signal) }),
  ];
}

export function compose(context: ServiceContext<RegistryOptions, RegistryCrashPoint>): readonly Part[] {
  const { options, logger, clock, metrics, crashPoints, readiness, grpc } = context;
  const config: ValuesOf<RegistryOptions> = options;
  const ambient = { clock, entropy: systemEntropy, logger, metrics, crashPoints };
  const graph = assemble(config, createStore(config, ambient), ambient);
  readiness.add("store", () => graph.store.trouble());
  readiness.add("mark", () => graph.keeper.trouble());
  const server = new GrpcServer({ services: graph.services, ...grpc.parts }, grpc.rules);
  return [...loops(graph), grpc.part(server)];
}

interface Loop {
  readonly first?: () => Promise<void>;
  /** Until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

function looping(name: string, { first, run }: Loop): Part {
  let running = new AbortController();
  let loop: Promise<void> = Promise.resolve();
  return {
    name,
    start: async () => {
      await first?.();
      running = new AbortController();
      loop = run(running.signal);
    },
    stop: async () => {
      running.abort();
      await loop;
    },
  };
}
