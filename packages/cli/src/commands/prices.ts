import { option } from "@godwit/common/config";
import type { Price } from "@godwit/proto/godwit/pricing/v1/pricing";
import { defineCommand } from "../command.ts";
import { listHosts, nameOf } from "../operations/hosts.ts";
import { formatPrice, formatTime, shortHostId } from "../print/format.ts";
import { type Column, table } from "../print/table.ts";
import type { Session } from "../session.ts";

interface PriceRow {
  readonly hostId: string;
  readonly host: string;
  readonly pricePerSecond: bigint;
  readonly grpcAddress: string;
  readonly seenAtUnixNs: bigint;
}

const COLUMNS: readonly Column<PriceRow>[] = [
  { title: "HOST", value: ({ host }) => host },
  { title: "ID", value: ({ hostId }) => shortHostId(hostId) },
  { title: "PRICE", value: ({ pricePerSecond }) => formatPrice(pricePerSecond), align: "right" },
  { title: "SEEN", value: ({ seenAtUnixNs }) => formatTime(seenAtUnixNs) },
];
const PAGE = 500;
const SCAN_MS = 5_000;

export const prices = defineCommand({
  name: "prices",
  summary: "Lists what hosts ask for a second, cheapest first: as the book has it, or asked anew.",
  options: { scan: option.flag({ help: "Ask the live hosts themselves, which also updates the book." }) },
  run: async ({ options: { scan }, session, output }) => {
    const hosts = await listHosts(session);
    const rowOf = ({ hostId, pricePerSecond, grpcAddress, seenAtUnixNs }: Price): PriceRow => {
      return { hostId, host: nameOf(hosts, hostId), pricePerSecond, grpcAddress, seenAtUnixNs };
    };
    if (!scan) {
      const rows = (await listPrices(session)).map(rowOf);
      output.list(rows, COLUMNS, "no prices: hosts tell theirs when they start; --scan asks them");
      return undefined;
    }
    const targets = hosts.filter(({ live }) => live).map(({ hostId, grpcAddress }) => ({ hostId, grpcAddress }));
    const timeoutMs = Math.min(SCAN_MS, session.timeoutMs);
    const answer =
      targets.length === 0
        ? { prices: [], missing: [] }
        : await session.pricing.scanPrices({ targets, timeoutMs }, session.call(timeoutMs + session.timeoutMs));
    const rows = answer.prices.map(rowOf);
    const missing = answer.missing.map(({ hostId, grpcAddress, code, message }) => {
      return { hostId, host: nameOf(hosts, hostId), grpcAddress, code, message };
    });
    output.result({ prices: rows, missing }, () => [
      ...(rows.length === 0 ? ["no host named a price"] : table(COLUMNS, rows)),
      ...missing.map(({ host, code, message }) => `${host} did not: ${code}: ${message}`),
    ]);
    return undefined;
  },
});

async function listPrices(session: Session): Promise<readonly Price[]> {
  const all: Price[] = [];
  let pageToken = "";
  do {
    const page = await session.pricing.listPrices({ pageSize: PAGE, pageToken }, session.call());
    all.push(...page.prices);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}
