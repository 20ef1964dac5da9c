// The classes of GH-2. A class is given where an error is born, by whoever knows what had been sent by then; nobody
// works it out later from a code or a text.

import { Fault, type FaultCode, type FaultDetail, type FaultDetailOf } from "../fault/index.ts";

export const FAILURE_CLASSES = ["retriable", "fatal-target", "fatal-migration", "ambiguous"] as const;

export type FailureClass = (typeof FAILURE_CLASSES)[number];

/** What the source acts on. */
export type Failure =
  /** The same target again, after a back-off. */
  | { readonly class: "retriable"; readonly fault: FaultDetail }
  /** The next candidate, at once. */
  | { readonly class: "fatal-target"; readonly fault: FaultDetail }
  /** Stop, revert, report. */
  | { readonly class: "fatal-migration"; readonly fault: FaultDetail }
  /** Neither tick nor try again until the registry has said who owns the agent (FS-2). */
  | { readonly class: "ambiguous"; readonly fault: FaultDetail };

/** A fault that knows its class. */
export class ClassifiedFault<C extends FaultCode = FaultCode> extends Fault<C> {
  override readonly name: string = "ClassifiedFault";
  readonly class: FailureClass;

  constructor(failureClass: FailureClass, detail: FaultDetailOf<C>, options?: { readonly cause?: unknown }) {
    super(detail, options);
    this.class = failureClass;
  }
}

/** Undefined for an error that nobody gave a class: that is a bug, or was never meant to be tried again. */
export function failureOf(error: unknown): Failure | undefined {
  return error instanceof ClassifiedFault ? { class: error.class, fault: error.detail } : undefined;
}

/** The error for a failure that was carried as data. */
export function failureError(failure: Failure, options?: { readonly cause?: unknown }): ClassifiedFault {
  return new ClassifiedFault(failure.class, failure.fault, options);
}
