export { type ManyRules, runMany } from "./command/run-many.ts";
export { runSeed, type SeedReport, type SeedRules, type Shape } from "./run-seed.ts";
export { Timeline } from "./time/timeline.ts";
