import { type Options, option, type Relation, type ValuesOf } from "@godwit/common/config";

export const REGISTRY_PORTS = { grpc: 7_443, ops: 8_443 } as const;

export const registryOptions = {
  data: option.text({
    fallback: "./data/registry",
    help: "The data directory: the embedded store, and the signing key unless --key says otherwise.",
  }),
  key: option.text({
    optional: true,
    help: "The file of the signing key, the same for all replicas; DATA/registry.key when it is not given.",
  }),
  store: option.choice(["embedded", "redis"], {
    optional: true,
    help: "Where records are kept: embedded, in the data directory, for one registry; or redis. redis when --redis is given.",
  }),
  redis: option.text({
    optional: true,
    pattern: /^rediss?:\/\/./,
    expected: "a Redis URL like redis://127.0.0.1:6379",
    help: "The Redis primary: redis://[user:password@]host:port[/db]. It must keep every write (appendfsync always).",
  }),
  redisTimeoutMs: option.duration({
    fallback: 2_000,
    min: 50,
    max: 60_000,
    help: "How long Redis may take to answer; then the outcome of a call is unknown.",
  }),
  leaseDurationMs: option.duration({
    fallback: 10_000,
    min: 300,
    max: 600_000,
    help: "How long a host may tick after a renewal; new sessions get it.",
  }),
  leaseGraceMs: option.duration({
    fallback: 2_000,
    min: 100,
    max: 600_000,
    help: "How much longer than that a session is left open when it is silent.",
  }),
  quarantineMs: option.duration({
    optional: true,
    min: 400,
    max: 86_400_000,
    help: "How long a store that may have forgotten is watched before everything is served again; --lease-duration + --lease-grace when it is not given.",
  }),
  restored: option.flag({
    help: "The embedded store was restored from a backup or a snapshot: begin with a quarantine. For one start.",
  }),
  renewEveryMs: option.duration({ fallback: 3_000, min: 50, max: 300_000, help: "How often hosts renew." }),
  lookEveryMs: option.duration({
    fallback: 500,
    min: 20,
    max: 60_000,
    help: "How often the registry looks which sessions are silent.",
  }),
  offersPerSecond: option.integer({
    fallback: 200,
    min: 1,
    max: 100_000,
    help: "How many agents of dead hosts this replica offers to others in a second.",
  }),
  nextHolderAfterMs: option.duration({
    fallback: 2_000,
    min: 50,
    max: 600_000,
    help: "How long one holder has to take an offer before the next one gets it too.",
  }),
  offerScanEveryMs: option.duration({
    fallback: 5_000,
    min: 50,
    max: 600_000,
    help: "How often it looks for agents that an interrupted offer left.",
  }),
  maxFailures: option.integer({
    fallback: 3,
    min: 0,
    max: 1_000,
    help: "A host with more failures in a row than this is no candidate.",
  }),
  forgetFailuresMs: option.duration({
    fallback: 300_000,
    min: 1_000,
    max: 86_400_000,
    help: "Failures older than this are forgotten.",
  }),
} as const satisfies Options;

export type RegistryOptions = typeof registryOptions;
export type RegistryConfig = ValuesOf<RegistryOptions>;

/** A silent session is closed this long after its last renewal. */
export function longestLeaseMs(lease: { readonly leaseDurationMs: number; readonly leaseGraceMs: number }): number {
  return lease.leaseDurationMs + lease.leaseGraceMs;
}

/** What must hold between options; the shared ones are checked elsewhere. */
export const registryRelations: readonly Relation<RegistryOptions>[] = [
  {
    of: ["leaseDurationMs", "renewEveryMs"],
    // Two tries must fit into one duration: a single lost packet must not cost the lease (SL-5).
    holds: ({ leaseDurationMs, renewEveryMs }) => renewEveryMs * 2 < leaseDurationMs,
    otherwise: "--renew-every must be under half of --lease-duration",
  },
  {
    of: ["leaseDurationMs", "lookEveryMs"],
    holds: ({ leaseDurationMs, lookEveryMs }) => lookEveryMs * 2 <= leaseDurationMs,
    otherwise: "--look-every must be at most half of --lease-duration",
  },
  {
    of: ["leaseDurationMs", "leaseGraceMs", "quarantineMs"],
    // Whoever does not bring back what it runs must have stopped when the quarantine ends (GA-6).
    holds: ({ quarantineMs, ...lease }) => quarantineMs === undefined || quarantineMs >= longestLeaseMs(lease),
    otherwise: "--quarantine must be at least --lease-duration + --lease-grace",
  },
  {
    of: ["restored", "redis"],
    holds: ({ restored, redis }) => !restored || redis === undefined,
    otherwise: "--restored is for the embedded store; a Redis that was restored shows that by itself",
  },
  {
    of: ["store", "redis"],
    holds: ({ store, redis }) => (store === "redis") === (redis !== undefined) || store === undefined,
    otherwise: "--redis and --store redis belong together",
  },
];
