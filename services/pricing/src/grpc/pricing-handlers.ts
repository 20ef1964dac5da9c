import type { MessageInitShape } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import type { ServiceHandlers } from "@godwit/grpc";
import type {
  PriceSchema,
  PricingService,
  ScanPricesRequest,
  ScanPricesResponseSchema,
} from "@godwit/proto/godwit/pricing/v1/pricing";
import type { Logger } from "@godwit/service";
import { checkAddress, checkHostId } from "../book/checks.ts";
import type { BookedPrice } from "../book/price.ts";
import type { PriceBook } from "../book/price-book.ts";
import type { Missing, Scanner, ScanTarget } from "../book/scanner.ts";
import { readStatement } from "../book/statement.ts";
import type { PricingMetrics } from "../metrics.ts";
import { decodePageToken, encodePageToken } from "./page-token.ts";

export interface PricingHandlersParts {
  readonly book: PriceBook;
  readonly scanner: Scanner;
  readonly logger: Logger;
  readonly metrics: PricingMetrics;
}

export interface PricingHandlersRules {
  /** For each host, when the caller does not say. */
  readonly scanTimeoutMs: number;
}

export const MAX_SCAN_TIMEOUT_MS = 30_000;
const MAX_SCAN_TARGETS = 1_000;
const PAGE_SIZE = { fallback: 100, max: 1_000 };

export function pricingHandlers(
  parts: PricingHandlersParts,
  rules: PricingHandlersRules,
): ServiceHandlers<typeof PricingService> {
  const { book, metrics } = parts;
  return {
    getPrice: ({ hostId }) => ({ price: wirePrice(book.get(checkHostId(hostId, "host_id"))) }),

    listPrices: ({ pageSize, pageToken }) => {
      const limit = within("page_size", pageSize, PAGE_SIZE);
      const prices = book.list(decodePageToken(pageToken), limit + 1); // one more tells whether there is another page
      const last = prices[limit - 1];
      const nextPageToken = prices.length > limit && last !== undefined ? encodePageToken(last) : "";
      return { prices: prices.slice(0, limit).map(wirePrice), nextPageToken };
    },

    getPriceHistory: ({ hostId, limit }) => {
      const prices = book.history(checkHostId(hostId, "host_id"), within("limit", limit, PAGE_SIZE));
      return { prices: prices.map(wirePrice) };
    },

    scanPrices: (request, { signal }) => scanPrices(parts, rules, request, signal),

    reportPrice: ({ statement, signature }) => {
      try {
        const outcome = book.report(readStatement({ payload: statement, signature }));
        metrics.reports.inc({ outcome });
        return {};
      } catch (error) {
        metrics.reports.inc({ outcome: isFault(error) ? error.code : "INTERNAL" });
        throw error;
      }
    },
  };
}

async function scanPrices(
  { book, scanner, logger, metrics }: PricingHandlersParts,
  { scanTimeoutMs }: PricingHandlersRules,
  request: ScanPricesRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ScanPricesResponseSchema>> {
  const timeoutMs = within("timeout_ms", request.timeoutMs, { fallback: scanTimeoutMs, max: MAX_SCAN_TIMEOUT_MS });
  const { targets, unknown } = targetsOf(request, book);
  const ended = metrics.scanSeconds.startTimer();
  const scan = await scanner.scan(targets, timeoutMs, signal);
  ended();
  const missing = [...unknown, ...scan.missing];
  metrics.scanned.inc({ outcome: "answered" }, scan.answers.length);
  for (const { fault } of missing) metrics.scanned.inc({ outcome: fault.code });
  try {
    const { notTaken } = book.record(scan.answers);
    if (notTaken > 0)
      logger.warn(
        { notTaken },
        "answers that were not booked: from elsewhere than signed, overtaken, or for a full book",
      );
  } catch (err) {
    // What the hosts said is worth having, also when it cannot be written down.
    if (!isFault(err)) throw err;
    logger.error({ err }, "the answers of a scan could not be booked");
  }
  return { prices: scan.answers.map(wirePrice), missing: missing.map(wireMissing) };
}

/** Each host once for each of its addresses; without targets, all that the book has. */
function targetsOf({ targets }: ScanPricesRequest, book: PriceBook): { targets: ScanTarget[]; unknown: Missing[] } {
  const count = targets.length === 0 ? book.count() : targets.length;
  if (count > MAX_SCAN_TARGETS) {
    throw new Fault({ code: "RESOURCE_LIMIT", what: "the number of hosts in one scan", limit: MAX_SCAN_TARGETS });
  }
  if (targets.length === 0) return { targets: [...book.list(undefined, MAX_SCAN_TARGETS)], unknown: [] };

  const known = new Map<string, ScanTarget>();
  const unknown: Missing[] = [];
  for (const [i, target] of targets.entries()) {
    const hostId = checkHostId(target.hostId, `targets[${i}].host_id`);
    const grpcAddress = target.grpcAddress === "" ? book.addressOf(hostId) : target.grpcAddress;
    if (grpcAddress === undefined) {
      unknown.push({ hostId, grpcAddress: "", fault: new Fault({ code: "HOST_UNKNOWN", hostId }) });
      continue;
    }
    checkAddress(grpcAddress, `targets[${i}].grpc_address`);
    known.set(`${hostId}@${grpcAddress}`, { hostId, grpcAddress });
  }
  return { targets: [...known.values()], unknown };
}

function within(
  field: string,
  value: number,
  { fallback, max }: { readonly fallback: number; readonly max: number },
): number {
  if (value === 0) return fallback;
  if (value <= max) return value;
  throw new Fault({ code: "INVALID_ARGUMENT", field, reason: `${value} is above the maximum of ${max}` });
}

function wirePrice(price: Omit<BookedPrice, "statedAtUnixNs">): MessageInitShape<typeof PriceSchema> {
  const { hostId, pricePerSecond, grpcAddress, seenAtUnixNs } = price;
  return { hostId, pricePerSecond, grpcAddress, seenAtUnixNs };
}

function wireMissing({ hostId, grpcAddress, fault }: Missing) {
  return { hostId, grpcAddress, code: fault.code, message: fault.message };
}
