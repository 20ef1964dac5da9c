// The functions that an agent imports, and how its calls reach whoever answers them: the mock host, or a record of what it has answered.

import type { WasmImports, WasmMemory } from "./wasm.ts";

export type Capability = "clock" | "rand" | "log" | "wallet" | "pricing";

export const capabilityOf = {
  clock_now: "clock",
  rand_bytes: "rand",
  log_emit: "log",
  wallet_balance: "wallet",
  wallet_receipt_count: "wallet",
  wallet_receipt: "wallet",
  node_price: "pricing",
} as const satisfies Record<string, Capability>;

export type HostcallName = keyof typeof capabilityOf;

/** What an agent asks. Pointers are left out: where it keeps its bytes is its own business. */
export type Question =
  | { readonly name: "clock_now" | "wallet_balance" | "wallet_receipt_count" | "node_price" }
  | { readonly name: "rand_bytes"; readonly length: number }
  | { readonly name: "log_emit"; readonly message: string }
  | { readonly name: "wallet_receipt"; readonly index: number; readonly capacity: number };

export interface Reply {
  readonly result: number | bigint | undefined;
  /** To be written where the agent wants it. */
  readonly payload?: Uint8Array;
}

export type Answerer = (question: Question) => Reply;

/** What the functions need of an instance, which stands only after they were made. */
export interface Caller {
  memory: WasmMemory | undefined;
  answer: Answerer;
}

const modules = ["godwit", "igor"];
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
export const resultCode = { failed: -1, tooLong: -2, outOfBounds: -4 } as const;
const maxRandomBytes = 67_108_864;

export function isHostcall(name: string): name is HostcallName {
  return Object.hasOwn(capabilityOf, name);
}

export function describeQuestion(question: Question): string {
  const { name, ...rest } = question;
  return `${name}(${Object.values(rest)
    .map((value) => JSON.stringify(value))
    .join(", ")})`;
}

/** Links what is granted, as a host does, and nothing else. */
export function hostImports(caller: Caller, granted: ReadonlySet<Capability>): WasmImports {
  const ask = (name: "clock_now" | "wallet_balance" | "wallet_receipt_count" | "node_price") => () =>
    caller.answer({ name }).result;
  const all: Record<HostcallName, (...numbers: never[]) => unknown> = {
    clock_now: ask("clock_now"),
    wallet_balance: ask("wallet_balance"),
    wallet_receipt_count: ask("wallet_receipt_count"),
    node_price: ask("node_price"),
    rand_bytes: (pointer: number, length: number) => randBytes(caller, pointer >>> 0, length >>> 0),
    log_emit: (pointer: number, length: number) => logEmit(caller, pointer >>> 0, length >>> 0),
    wallet_receipt: (index: number, pointer: number, capacity: number) =>
      written(caller, pointer >>> 0, caller.answer({ name: "wallet_receipt", index, capacity: capacity >>> 0 })),
  };
  const linked = Object.entries(all).filter(([name]) => isHostcall(name) && granted.has(capabilityOf[name]));
  return Object.fromEntries(modules.map((module) => [module, Object.fromEntries(linked)]));
}

function randBytes(caller: Caller, pointer: number, length: number): unknown {
  if (length === 0) return 0;
  if (length > maxRandomBytes) return resultCode.tooLong;
  if (bytesOf(caller, pointer, length) === undefined) return resultCode.outOfBounds;
  return written(caller, pointer, caller.answer({ name: "rand_bytes", length }));
}

function logEmit(caller: Caller, pointer: number, length: number): undefined {
  const bytes = bytesOf(caller, pointer, length);
  if (bytes === undefined || length === 0) return;
  caller.answer({ name: "log_emit", message: utf8.decode(bytes) });
}

function written(caller: Caller, pointer: number, { result, payload }: Reply): unknown {
  if (payload === undefined) return result;
  const target = bytesOf(caller, pointer, payload.length);
  if (target === undefined) return resultCode.outOfBounds;
  target.set(payload);
  return result;
}

function bytesOf({ memory }: Caller, pointer: number, length: number): Uint8Array | undefined {
  if (memory === undefined || pointer + length > memory.buffer.byteLength) return undefined;
  return new Uint8Array(memory.buffer, pointer, length);
}
