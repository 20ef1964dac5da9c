import { option, type ValuesOf } from "@godwit/common/config";
import { MAX_SCAN_TIMEOUT_MS } from "./grpc/pricing-handlers.ts";

/** Beside those that every service has. */
export const pricingOptions = {
  data: option.text({ fallback: "./data/pricing", help: "The data directory. Only one process may use it." }),
  scanTimeoutMs: option.duration({
    fallback: 5_000,
    min: 1,
    max: MAX_SCAN_TIMEOUT_MS,
    help: "How long each host has to answer in a scan, when the caller does not say.",
  }),
  scanConcurrency: option.integer({ fallback: 64, min: 1, max: 1_000, help: "How many hosts a scan asks at once." }),
  history: option.integer({
    fallback: 1_000,
    min: 1,
    max: 100_000,
    help: "Changes of price that are kept for each host.",
  }),
  maxHosts: option.integer({
    fallback: 10_000,
    min: 1,
    max: 1_000_000,
    help: "The most hosts that the book takes; anybody can make a host id.",
  }),
};

export type PricingConfig = ValuesOf<typeof pricingOptions>;
