import { fromBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { checkMoney } from "@godwit/common/money";
import { open, publicKeyOfHost } from "@godwit/lineage";
import { PriceStatementSchema, type PriceStatement as WireStatement } from "@godwit/proto/godwit/pricing/v1/pricing";
import { checkAddress, checkHostId } from "./checks.ts";
import type { PriceStatement } from "./price.ts";

/**
 * What a signed statement says, once the host that it names is known to have signed it. Faults: INVALID_ARGUMENT for bytes, ids,
 * prices and addresses that are none, SIGNATURE_INVALID.
 */
export function readStatement(signed: SignedBytes): PriceStatement {
  const { hostId, pricePerSecond, grpcAddress, statedAtUnixNs } = decode(signed.payload);
  checkHostId(hostId, "statement.host_id");
  open("price-statement", signed, publicKeyOfHost(hostId));
  checkMoney(pricePerSecond, "statement.price_per_second");
  checkAddress(grpcAddress, "statement.grpc_address");
  return { hostId, pricePerSecond, grpcAddress, statedAtUnixNs };
}

function decode(payload: Uint8Array): WireStatement {
  try {
    return fromBinary(PriceStatementSchema, payload);
  } catch (cause) {
    const reason = "these bytes are no PriceStatement: encode one and sign exactly these bytes";
    throw new Fault({ code: "INVALID_ARGUMENT", field: "statement", reason }, { cause });
  }
}
