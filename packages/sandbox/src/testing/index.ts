// Small agents, made byte by byte, for tests of what runs them. Nothing but tests may import it.

export {
  at,
  type CounterOptions,
  counterAgent,
  countOf,
  countUp,
  noMoreWork,
  stateOf,
  tickThat,
} from "./counter-agent.ts";
export { type BuiltFunction, type BuiltImport, type BuiltModule, buildModule, op } from "./wasm-builder.ts";
