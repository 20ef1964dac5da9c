import { Fault } from "@godwit/common/fault";
import type { PriceCursor } from "../book/price.ts";

/** Opaque to callers; where the next page begins is in it, so no page is kept anywhere. */
export function encodePageToken({ pricePerSecond, hostId }: PriceCursor): string {
  return Buffer.from(`${pricePerSecond}:${hostId}`).toString("base64url");
}

/** Undefined for the first page. Throws Fault INVALID_ARGUMENT for what no page has given. */
export function decodePageToken(token: string): PriceCursor | undefined {
  if (token === "") return undefined;
  const parts =
    token.length > 200 ? null : /^(\d{1,18}):([A-Za-z0-9]+)$/.exec(Buffer.from(token, "base64url").toString());
  const [, price, hostId] = parts ?? [];
  if (price === undefined || hostId === undefined) {
    throw new Fault({
      code: "INVALID_ARGUMENT",
      field: "page_token",
      reason: "give the next_page_token of the page before, as it is",
    });
  }
  return { pricePerSecond: BigInt(price), hostId };
}
