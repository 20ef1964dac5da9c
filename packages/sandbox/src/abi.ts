// What an agent and its host call on each other.
//
// The functions under the import modules "igor" and "godwit" are the same ones. Numbers, types and result codes are those of the system
// whose agents we run; no agent may rely on anything that is not in these two tables.

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref";

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export type Capability = "clock" | "rand" | "log" | "wallet" | "pricing";

/** Every capability that the sandbox can give, in the order in which hosts list them. */
export const capabilities: readonly Capability[] = ["clock", "rand", "log", "wallet", "pricing"];

export const hostModules: ReadonlySet<string> = new Set(["igor", "godwit"]);

export interface Hostcall extends FunctionType {
  /** Its number in event logs; never given to another function. */
  readonly id: number;
  readonly capability: Capability;
}

export const hostcalls = {
  clock_now: { id: 1, capability: "clock", params: [], results: ["i64"] },
  rand_bytes: { id: 2, capability: "rand", params: ["i32", "i32"], results: ["i32"] },
  log_emit: { id: 3, capability: "log", params: ["i32", "i32"], results: [] },
  wallet_balance: { id: 4, capability: "wallet", params: [], results: ["i64"] },
  wallet_receipt_count: { id: 5, capability: "wallet", params: [], results: ["i32"] },
  wallet_receipt: { id: 6, capability: "wallet", params: ["i32", "i32", "i32"], results: ["i32"] },
  node_price: { id: 7, capability: "pricing", params: [], results: ["i64"] },
} as const satisfies Record<string, Hostcall>;

export type HostcallName = keyof typeof hostcalls;

export function isHostcall(name: string): name is HostcallName {
  return Object.hasOwn(hostcalls, name);
}

export interface ExportRule {
  readonly required: boolean;
  /** Any of these is right. */
  readonly types: readonly FunctionType[];
}

const nothing: FunctionType = { params: [], results: [] };
const givesI32: FunctionType = { params: [], results: ["i32"] };

export const agentExports = {
  _initialize: { required: false, types: [nothing] },
  agent_init: { required: true, types: [nothing] },
  agent_tick: { required: true, types: [givesI32, nothing] },
  agent_checkpoint: { required: true, types: [givesI32] },
  agent_checkpoint_ptr: { required: true, types: [givesI32] },
  agent_resume: { required: true, types: [{ params: ["i32", "i32"], results: [] }] },
  malloc: { required: false, types: [{ params: ["i32"], results: ["i32"] }] },
} as const satisfies Record<string, ExportRule>;

export const resultCode = { failed: -1, tooLong: -2, outOfBounds: -4 } as const;

/** One call of `rand_bytes`. */
export const maxRandomBytes = 67_108_864;
/** One message of `log_emit`; a longer one is dropped. */
export const maxLogMessageBytes = 1_048_576;

export function sameType(a: FunctionType, b: FunctionType): boolean {
  return describeType(a) === describeType(b);
}

export function describeType({ params, results }: FunctionType): string {
  return `(${params.join(", ")}) -> (${results.join(", ")})`;
}
