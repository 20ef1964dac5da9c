import { FAULTS, type FaultCode, type FaultDetail, type FaultDetailOf } from "./codes.ts";
import type { Fields, Row } from "./row.ts";

/**
 * An expected failure, with a code and typed data. Anything else that is thrown is a bug: it leaves a process as
 * INTERNAL, and its text only goes into our own log. Wrap what led to a fault with `{ cause }`.
 */
export class Fault<C extends FaultCode = FaultCode> extends Error {
  override readonly name: string = "Fault";
  readonly detail: FaultDetailOf<C>;

  constructor(detail: FaultDetailOf<C>, options?: { readonly cause?: unknown }) {
    super(faultMessage(detail as FaultDetail), options);
    this.detail = detail;
  }

  get code(): C {
    return this.detail.code;
  }
}

/** True for a fault with one of these codes; without codes, for any fault. */
export function isFault<C extends FaultCode>(error: unknown, ...codes: readonly C[]): error is Fault<C> {
  if (!(error instanceof Fault)) return false;
  const { code }: { readonly code: FaultCode } = error;
  return codes.length === 0 || codes.some((wanted) => wanted === code);
}

/** The text of a fault: what is wrong, and what to do. */
export function faultMessage(detail: FaultDetail): string {
  const row: Row<Fields> = FAULTS[detail.code];
  return row.message({ ...detail });
}
