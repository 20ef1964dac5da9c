import { GrpcServer, serve } from "@godwit/grpc";
import { PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";
import { type Part, part, type ServiceContext } from "@godwit/service";
import { PriceBook } from "./book/price-book.ts";
import { Scanner } from "./book/scanner.ts";
import type { pricingOptions } from "./config.ts";
import { GrpcHostPrices } from "./grpc/grpc-host-prices.ts";
import { MAX_SCAN_TIMEOUT_MS, pricingHandlers } from "./grpc/pricing-handlers.ts";
import { createPricingMetrics } from "./metrics.ts";
import { SqlitePriceStore } from "./store/sqlite-price-store.ts";
import { StoreWatch } from "./store/store-watch.ts";

const WATCH_EVERY_MS = 2_000;

export function compose(context: ServiceContext<typeof pricingOptions, never>): readonly Part[] {
  const { options, clock, readiness, grpc, tls } = context;
  const logger = context.logger.child({ part: "pricing" });

  const store = new SqlitePriceStore({ directory: options.data, historyLimit: options.history });
  const book = new PriceBook({ store, clock }, { maxHosts: options.maxHosts });
  const hosts = new GrpcHostPrices({ tls: tls?.client, timeoutMs: MAX_SCAN_TIMEOUT_MS });
  const scanner = new Scanner({ hosts, clock }, { concurrency: options.scanConcurrency });
  const metrics = createPricingMetrics(context.metrics, { hosts: () => book.count() });
  const handlers = pricingHandlers({ book, scanner, logger, metrics }, { scanTimeoutMs: options.scanTimeoutMs });

  const onChange = (err: unknown) => {
    if (err === undefined) logger.info("the price book can be written again");
    else logger.error({ err }, "the price book cannot be written");
  };
  const watch = new StoreWatch({ store, clock, onChange }, { everyMs: WATCH_EVERY_MS });
  readiness.add("store", () => watch.reason());

  return [
    part("store", { start: async () => store.open(), stop: async () => store.close() }),
    part("store watch", { start: async () => watch.start(), stop: () => watch.stop() }),
    grpc.part(new GrpcServer({ services: [serve(PricingService, handlers)], ...grpc.parts }, grpc.rules)),
  ];
}
