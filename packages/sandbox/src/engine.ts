// The compiler describes WebAssembly only together with the whole browser. The little of it that we use is described here instead, so that no
// package sees a `window` that does not exist.

declare const moduleBrand: unique symbol;

/** Compiled code. Posting it to a worker shares the code. */
export interface WasmModule {
  readonly [moduleBrand]: true;
}

export interface WasmMemory {
  /** Detached whenever the memory grows: never keep it across a call into the agent. */
  readonly buffer: ArrayBuffer;
}

export type WasmFunction = (...numbers: readonly number[]) => unknown;
export type WasmImports = Readonly<Record<string, Readonly<Record<string, (...args: never[]) => unknown>>>>;

interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

interface WebAssemblyApi {
  compile(bytes: Uint8Array): Promise<WasmModule>;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (module: WasmModule, imports: WasmImports) => WasmInstance;
}

const api = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;

export function compileWasm(bytes: Uint8Array): Promise<WasmModule> {
  return api.compile(bytes);
}

/** On this thread, before it returns. */
export function compileWasmNow(bytes: Uint8Array): WasmModule {
  return new api.Module(bytes);
}

export function instantiateWasm(module: WasmModule, imports: WasmImports): Readonly<Record<string, unknown>> {
  return new api.Instance(module, imports).exports;
}
