// Every flag of an agent-host, its GODWIT_ variable and its check. Seed names are kept where the seed has one.

import { option } from "@godwit/common/config";
import { checkRetryPolicy } from "@godwit/common/retry";
import { capabilities as allCapabilities } from "@godwit/sandbox";
import { divergencePolicies, replayModes } from "./agents/replay-policy.ts";

const mebibyte = 1024 * 1024;

export const hostOptions = {
  data: option.text({ fallback: "./data/agent-host", help: "Directory of the host's key, agents and journal." }),
  name: option.text({ optional: true, help: "A label for people; the last characters of the host id by default." }),
  registry: option.text({
    fallback: "127.0.0.1:7443",
    help: "host:port of the registry; a name may stand for several replicas.",
  }),
  pricing: option.text({ optional: true, help: "host:port of pricing; without it prices come from the registry." }),
  p2pListen: option.list({
    fallback: ["/ip4/127.0.0.1/tcp/0"],
    help: "Multiaddrs at which libp2p listens.",
  }),
  p2pAnnounce: option.list({ help: "Multiaddrs that others are told, when they are not where it listens." }),
  price: option.integer({
    fallback: 1_000,
    min: 0,
    max: 1_000_000_000_000,
    help: "What a second of run time costs, in microcents; --price changes it, `SetPrice` until the next start.",
  }),
  capabilities: option.list({
    fallback: [...allCapabilities],
    help: `What agents may be given: of ${allCapabilities.join(", ")}.`,
  }),
  label: option.list({ help: "KEY=VALUE, for operators; may be repeated." }),
  replicas: option.integer({
    fallback: 1,
    min: 0,
    max: 8,
    help: "Other hosts that get a copy of each checkpoint.",
  }),
  history: option.integer({ fallback: 1_000, min: 16, max: 1_000_000, help: "Checkpoint headers kept of each agent." }),
  migrationRetries: option.integer({ fallback: 3, min: 1, max: 100, help: "Attempts at each target of a migration." }),
  migrationRetryDelayMs: option.duration({
    fallback: 1_000,
    min: 1,
    max: 30_000,
    help: "Longest wait before the second attempt at a target; doubled for each after it, up to 30 s.",
  }),
  maxIncomingMigrations: option.integer({ fallback: 8, min: 1, max: 256, help: "Handoffs taken in at one time." }),
  trustDataLock: option.flag({
    help: "After a restart take agents back at once. Only if this data directory is never copied while in use.",
  }),
  workers: option.integer({ fallback: 2, min: 1, max: 64, help: "Threads that run agents." }),
  maxMemory: option.bytes({
    fallback: 64 * mebibyte,
    min: 65_536,
    max: 4_096 * mebibyte,
    help: "Memory of one agent.",
  }),
  copiesUpTo: option.bytes({
    fallback: 16 * 1024 * mebibyte,
    min: 0,
    max: 1024 * 1024 * mebibyte,
    help: "Copies of other hosts' agents are taken while --data holds less than this.",
  }),
  maxModule: option.bytes({ fallback: 16 * mebibyte, min: 8, max: 64 * mebibyte, help: "Size of one module." }),
  tickEveryMs: option.duration({ fallback: 1_000, min: 1, max: 3_600_000, help: "Between an agent's ticks." }),
  moreWorkEveryMs: option.duration({
    fallback: 10,
    min: 0,
    max: 60_000,
    help: "Between its ticks while it says that it has more work.",
  }),
  tickTimeoutMs: option.duration({ fallback: 100, min: 5, max: 60_000, help: "Longest tick." }),
  checkpointEveryMs: option.duration({
    fallback: 5_000,
    min: 10,
    max: 3_600_000,
    help: "Between an agent's checkpoints.",
  }),
  replayMode: option.choice(replayModes, {
    fallback: "full",
    help: "Whose ticks are run again and compared: of this host's agents (periodic), of those that come in (on-migrate), both (full), or nobody's (off).",
  }),
  replayWindow: option.integer({
    fallback: 16,
    min: 1,
    max: 1_024,
    help: "Ticks of an agent that are kept to be run again, at least.",
  }),
  verifyInterval: option.integer({
    fallback: 5,
    min: 0,
    max: 1_000_000,
    help: "Committed ticks after which an agent's are run again; 0: never.",
  }),
  replayOnDivergence: option.choice(divergencePolicies, {
    fallback: "log",
    help: "What is done about an agent whose ticks come out differently: log it, pause (stop) it, intensify (look after every checkpoint for a while), or migrate it to another host, and stop it if none takes it.",
  }),
  replayCostLog: option.flag({ help: "Logs how long each replay took." }),
  registryTimeoutMs: option.duration({
    fallback: 3_000,
    min: 100,
    max: 60_000,
    help: "How long an answer of the registry is waited for.",
  }),
  streamFaults: option.list({ help: "For tests: faults of migration streams; see docs/operating.md." }),
};

/** GH-6: at most 30 s between two attempts. */
export function retryPolicyOf(options: { readonly migrationRetries: number; readonly migrationRetryDelayMs: number }) {
  const policy = {
    attempts: options.migrationRetries,
    firstDelayMs: options.migrationRetryDelayMs,
    maxDelayMs: 30_000,
  };
  checkRetryPolicy(policy);
  return policy;
}
