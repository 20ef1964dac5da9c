// The functions that a host gives to agents. An agent can only reach its own memory and what its view holds.

import { type HostcallName, hostModules, maxLogMessageBytes, maxRandomBytes, resultCode } from "../abi.ts";
import type { WasmImports, WasmMemory } from "../engine.ts";
import type { HostView } from "../messages.ts";
import type { LogCollector } from "./log-collector.ts";
import type { Machine } from "./machine.ts";

const nsPerMs = 1_000_000n;

/** What one agent's host calls work on. */
export class HostcallContext {
  readonly logs: LogCollector;
  readonly machine: Machine;
  /** Set as soon as the instance stands; no code of the agent runs before. */
  memory: WasmMemory | undefined;
  #view: HostView = { wallNs: 0n, balanceMicrocents: 0n, pricePerSecond: 0n, receipts: undefined };
  #viewedAtNs = 0n;
  #receipts: readonly Uint8Array[] = [];

  constructor(logs: LogCollector, machine: Machine) {
    this.logs = logs;
    this.machine = machine;
  }

  show(view: HostView): void {
    this.#view = view;
    this.#viewedAtNs = this.machine.nowNs();
    this.#receipts = view.receipts ?? this.#receipts;
  }

  get balanceMicrocents(): bigint {
    return this.#view.balanceMicrocents;
  }

  get pricePerSecond(): bigint {
    return this.#view.pricePerSecond;
  }

  get receipts(): readonly Uint8Array[] {
    return this.#receipts;
  }

  /** In whole milliseconds, as the host's clock has them: so two requests in a row never show a time that runs backwards. */
  wallNs(): bigint {
    const wallNs = this.#view.wallNs + (this.machine.nowNs() - this.#viewedAtNs);
    return (wallNs / nsPerMs) * nsPerMs;
  }

  /** The agent's bytes, or undefined if not all of them lie in its memory. Valid until the agent runs again. */
  bytes(pointer: number, length: number): Uint8Array | undefined {
    const buffer = this.memory?.buffer;
    const from = pointer >>> 0;
    const size = length >>> 0;
    if (buffer === undefined || from + size > buffer.byteLength) return undefined;
    return new Uint8Array(buffer, from, size);
  }
}

type HostFunction = (...args: never[]) => number | bigint | undefined;

/** Links what is granted, under both module names, and nothing else. */
export function hostImports(context: HostcallContext, granted: readonly HostcallName[]): WasmImports {
  const all: Record<HostcallName, HostFunction> = {
    clock_now: () => context.wallNs(),
    rand_bytes: (pointer: number, length: number) => randomBytes(context, pointer, length),
    log_emit: (pointer: number, length: number) => logEmit(context, pointer, length),
    wallet_balance: () => context.balanceMicrocents,
    wallet_receipt_count: () => context.receipts.length,
    wallet_receipt: (index: number, pointer: number, capacity: number) =>
      walletReceipt(context, { index, pointer, capacity }),
    node_price: () => context.pricePerSecond,
  };
  const functions = Object.fromEntries(granted.map((name) => [name, all[name]]));
  return Object.fromEntries([...hostModules].map((module) => [module, functions]));
}

function randomBytes(context: HostcallContext, pointer: number, length: number): number {
  const size = length >>> 0;
  if (size === 0) return 0;
  if (size > maxRandomBytes) return resultCode.tooLong;
  const target = context.bytes(pointer, size);
  if (target === undefined) return resultCode.outOfBounds;
  try {
    context.machine.fillRandom(target);
  } catch {
    return resultCode.failed;
  }
  return 0;
}

function logEmit(context: HostcallContext, pointer: number, length: number): undefined {
  const size = length >>> 0;
  if (size === 0) return;
  const message = size > maxLogMessageBytes ? undefined : context.bytes(pointer, size);
  if (message === undefined) context.logs.drop();
  else context.logs.add(message);
}

function walletReceipt(
  context: HostcallContext,
  { index, pointer, capacity }: { readonly index: number; readonly pointer: number; readonly capacity: number },
): number {
  const receipt = index < 0 ? undefined : context.receipts[index];
  if (receipt === undefined) return resultCode.failed;
  if (receipt.length > capacity >>> 0) return resultCode.outOfBounds;
  const target = context.bytes(pointer, receipt.length);
  if (target === undefined) return resultCode.outOfBounds;
  target.set(receipt);
  return receipt.length;
}
