export {
  checkMoney,
  formatMoney,
  MAX_MICROCENTS,
  MICROCENTS_PER_UNIT,
  type Microcents,
  parseMoney,
} from "./money.ts";
export { type TickCost, type TickTime, tickCost } from "./tick-cost.ts";
