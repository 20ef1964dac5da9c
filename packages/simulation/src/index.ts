export { runSeed, type SeedReport, type SeedRules } from "./run-seed.ts";
