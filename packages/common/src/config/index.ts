export {
  type Argument,
  type Arguments,
  type ArgumentsOf,
  argument,
  type CommandLine,
  type CommandLineResult,
  type Given,
  type Relation,
  readCommandLine,
} from "./args.ts";
export { type Env, EnvReader } from "./env-reader.ts";
export { helpText } from "./help.ts";
export { type Address, formatAddress, type MoneyRules, type Range, type TextRules } from "./kinds.ts";
export { type About, type Option, type Options, option, type ValuesOf } from "./option.ts";
export { suggestion } from "./suggestion.ts";
