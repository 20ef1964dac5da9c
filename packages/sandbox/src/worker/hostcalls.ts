// The functions that a host gives to agents. An agent can only reach its own memory and what its view holds.

import { type HostcallName, hostcalls, hostModules, maxLogMessageBytes, maxRandomBytes, resultCode } from "../abi.ts";
import type { WasmImports, WasmMemory } from "../engine.ts";
import type { HostView } from "../messages.ts";
import { type WasiGrant, wasiModule } from "../wasi-abi.ts";
import type { LogCollector } from "./log-collector.ts";
import type { Machine } from "./machine.ts";
import { Output } from "./output.ts";
import { drawRandom, repeatRandom } from "./random.ts";
import type { Tape } from "./tape.ts";
import { TickTime } from "./tick-time.ts";
import { wasiImports } from "./wasi.ts";

const nsPerMs = 1_000_000n;

export interface HostcallParts {
  readonly logs: LogCollector;
  readonly machine: Machine;
  readonly tape: Tape;
}

/** What one agent's host calls work on. */
export class HostcallContext {
  readonly logs: LogCollector;
  readonly machine: Machine;
  readonly tape: Tape;
  readonly output: Output;
  readonly tickTime: TickTime;
  /** Set as soon as the instance stands; no code of the agent runs before. */
  memory: WasmMemory | undefined;
  #view: HostView = { wallNs: 0n, balanceMicrocents: 0n, pricePerSecond: 0n, receipts: undefined };
  #viewedAtNs = 0n;
  #receipts: readonly Uint8Array[] = [];

  constructor({ logs, machine, tape }: HostcallParts) {
    this.logs = logs;
    this.machine = machine;
    this.tape = tape;
    this.output = new Output(logs);
    this.tickTime = new TickTime(tape, () => this.wallNs());
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
export function hostImports(context: HostcallContext, granted: readonly HostcallName[], wasi?: WasiGrant): WasmImports {
  const { tape } = context;
  const all: Record<HostcallName, HostFunction> = {
    clock_now: () => number64(tape, "clock_now", () => context.wallNs()),
    rand_bytes: (pointer: number, length: number) => randomBytes(context, pointer, length),
    log_emit: (pointer: number, length: number) => logEmit(context, pointer, length),
    wallet_balance: () => number64(tape, "wallet_balance", () => context.balanceMicrocents),
    wallet_receipt_count: () => receiptCount(context),
    wallet_receipt: (index: number, pointer: number, capacity: number) =>
      walletReceipt(context, { index, pointer, capacity }),
    node_price: () => number64(tape, "node_price", () => context.pricePerSecond),
  };
  const functions = Object.fromEntries(granted.map((name) => [name, all[name]]));
  const ours = Object.fromEntries([...hostModules].map((module) => [module, functions]));
  return wasi === undefined ? ours : { ...ours, [wasiModule]: wasiImports(context, wasi) };
}

function number64(tape: Tape, name: HostcallName, read: () => bigint): bigint {
  tape.begin(hostcalls[name].id);
  return tape.replaying ? tape.ended(tape.taken().result) : tape.given(BigInt.asIntN(64, read()));
}

function randomBytes(context: HostcallContext, pointer: number, length: number): number {
  const { tape, machine } = context;
  const size = length >>> 0;
  tape.begin(hostcalls.rand_bytes.id);
  tape.number(size);
  if (size === 0) return tape.settled(0);
  if (size > maxRandomBytes) return tape.settled(resultCode.tooLong);
  const target = context.bytes(pointer, size);
  if (target === undefined) return tape.settled(resultCode.outOfBounds);
  if (tape.replaying) return repeatedRandom(tape, target);
  const drawn = drawRandom(machine, target);
  return drawn === undefined ? tape.given(resultCode.failed) : tape.given(0, drawn);
}

function repeatedRandom(tape: Tape, target: Uint8Array): number {
  const { result, payload } = tape.taken();
  if (result === BigInt(resultCode.failed) && payload.length === 0) return tape.ended(resultCode.failed);
  if (result !== 0n || !repeatRandom(payload, target)) {
    return tape.diverge(`no host answers rand_bytes of ${target.length} bytes as the record does`);
  }
  return tape.ended(0);
}

function logEmit(context: HostcallContext, pointer: number, length: number): undefined {
  const { tape, logs } = context;
  const size = length >>> 0;
  const message = size > maxLogMessageBytes ? undefined : context.bytes(pointer, size);
  tape.begin(hostcalls.log_emit.id);
  tape.number(size);
  if (message !== undefined) tape.content(message);
  tape.settled(0);
  if (size === 0 || tape.replaying) return;
  if (message === undefined) logs.drop();
  else logs.add(message);
}

function receiptCount({ tape, receipts }: HostcallContext): number {
  tape.begin(hostcalls.wallet_receipt_count.id);
  return tape.replaying ? tape.ended(Number(tape.taken().result)) : tape.given(receipts.length);
}

function walletReceipt(
  context: HostcallContext,
  { index, pointer, capacity }: { readonly index: number; readonly pointer: number; readonly capacity: number },
): number {
  const { tape } = context;
  tape.begin(hostcalls.wallet_receipt.id);
  tape.number(index);
  tape.number(capacity);
  if (tape.replaying) return repeatedReceipt(context, pointer, capacity >>> 0);
  const receipt = index < 0 ? undefined : context.receipts[index];
  if (receipt === undefined) return tape.given(resultCode.failed);
  if (receipt.length > capacity >>> 0) return tape.given(resultCode.outOfBounds);
  const target = context.bytes(pointer, receipt.length);
  if (target === undefined) return tape.given(resultCode.outOfBounds);
  target.set(receipt);
  return tape.given(receipt.length, receipt);
}

function repeatedReceipt(context: HostcallContext, pointer: number, capacity: number): number {
  const { tape } = context;
  const { result, payload } = tape.taken();
  const failed = result === BigInt(resultCode.failed) || result === BigInt(resultCode.outOfBounds);
  if (failed && payload.length === 0) return tape.ended(Number(result));
  const target = context.bytes(pointer, payload.length);
  if (result !== BigInt(payload.length) || payload.length > capacity || target === undefined) {
    return tape.diverge("no host answers wallet_receipt as the record does");
  }
  target.set(payload);
  return tape.ended(payload.length);
}
