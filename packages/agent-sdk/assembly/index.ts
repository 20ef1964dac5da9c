// What an agent imports. Its entry file registers it and exports what a host calls:
//
//   register(new Ticker());
//   export * from "@godwit/agent-sdk/assembly/exports";

export { abort } from "./abort";
export { Agent, register, withoutHead } from "./agent";
export { Decoder } from "./decoder";
export { Encoder } from "./encoder";
export {
  clockNow,
  fillRandom,
  log,
  nodePrice,
  randBytes,
  randU64,
  walletBalance,
  walletReceipt,
  walletReceiptCount,
} from "./host";
export { deriveKey, Intent, Intents, IntentState, randomKey } from "./intents";
export { Receipt } from "./receipt";
export { sha256 } from "./sha256";
export { formatBytes, formatMoney, formatSeconds, formatTime } from "./text";
