import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export type PricingMetrics = ReturnType<typeof createPricingMetrics>;

export interface PricingGauges {
  /** How many hosts the book has; may throw while the store is away. */
  readonly hosts: () => number;
}

export function createPricingMetrics(register: Registry, { hosts }: PricingGauges) {
  const registers = [register];
  new Gauge({
    name: "pricing_book_hosts",
    help: "Hosts in the price book",
    registers,
    collect() {
      try {
        this.set(hosts());
      } catch {
        this.reset(); // unknown, which is not 0
      }
    },
  });
  return {
    reports: new Counter({
      name: "pricing_reports_total",
      help: "Signed statements, by outcome: changed, unchanged, or the code of the refusal",
      labelNames: ["outcome"] as const,
      registers,
    }),
    scanned: new Counter({
      name: "pricing_scanned_hosts_total",
      help: "Hosts that were asked for their price, by outcome: answered, or the code of why not",
      labelNames: ["outcome"] as const,
      registers,
    }),
    scanSeconds: new Histogram({
      name: "pricing_scan_seconds",
      help: "Time of a whole scan",
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 5, 10, 30],
      registers,
    }),
  };
}
