// The production functions that a model runs. A test puts a weakness in by giving another one.

import { decide, mayTick, standing, stepTenure } from "@godwit/common/lease";
import { judge } from "../../judge.ts";
import { stepSource } from "../../source.ts";
import { standingOf } from "../../standing.ts";
import { stepTarget } from "../../target.ts";

export interface Rules {
  readonly decide: typeof decide;
  readonly mayTick: typeof mayTick;
  readonly stepTenure: typeof stepTenure;
  readonly standing: typeof standing;
  readonly judge: typeof judge;
  readonly standingOf: typeof standingOf;
  readonly stepSource: typeof stepSource;
  readonly stepTarget: typeof stepTarget;
}

export const productionRules: Rules = {
  decide,
  mayTick,
  stepTenure,
  standing,
  judge,
  standingOf,
  stepSource,
  stepTarget,
};
