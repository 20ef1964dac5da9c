// The production functions that a model runs. A test puts a weakness in by giving another one.

import {
  decide,
  decideMark,
  mayReassert,
  mayTake,
  mayTick,
  reassert,
  reassertSession,
  reassertsFrom,
  standing,
  standingUnder,
  stepLease,
  stepTenure,
} from "@godwit/common/lease";
import { judgeLoss } from "../../after-loss.ts";
import { judge } from "../../judge.ts";
import { stepSource } from "../../source.ts";
import { standingOf } from "../../standing.ts";
import { stepTarget } from "../../target.ts";

export interface Rules {
  readonly decide: typeof decide;
  readonly mayTick: typeof mayTick;
  readonly stepTenure: typeof stepTenure;
  readonly standing: typeof standing;
  readonly standingUnder: typeof standingUnder;
  readonly judge: typeof judge;
  readonly standingOf: typeof standingOf;
  readonly stepSource: typeof stepSource;
  readonly stepTarget: typeof stepTarget;
  readonly decideMark: typeof decideMark;
  readonly mayReassert: typeof mayReassert;
  readonly mayTake: typeof mayTake;
  readonly reassert: typeof reassert;
  readonly reassertSession: typeof reassertSession;
  readonly reassertsFrom: typeof reassertsFrom;
  readonly stepLease: typeof stepLease;
  readonly judgeLoss: typeof judgeLoss;
}

export const productionRules: Rules = {
  decide,
  mayTick,
  stepTenure,
  standing,
  standingUnder,
  judge,
  standingOf,
  stepSource,
  stepTarget,
  decideMark,
  mayReassert,
  mayTake,
  reassert,
  reassertSession,
  reassertsFrom,
  stepLease,
  judgeLoss,
};
