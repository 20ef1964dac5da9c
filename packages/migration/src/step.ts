// What the machines of this package have in common.

import type { Failure } from "@godwit/common/retry";

/** What a machine is after an event, and what its driver has to do now, in this order. */
export interface Step<State, Command> {
  readonly state: State;
  readonly commands: readonly Command[];
}

/** A failure, and whose it is: only a target's own counts against its health (GH-7). */
export interface Trouble {
  readonly failure: Failure;
  readonly by: "source" | "target";
}
