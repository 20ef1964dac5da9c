// The compiler describes WebAssembly only together with the whole browser. The little of it that is used here is described instead.

declare const moduleBrand: unique symbol;

export interface WasmModule {
  readonly [moduleBrand]: true;
}

export interface WasmMemory {
  /** Another one after each growth. */
  readonly buffer: ArrayBuffer;
}

export type WasmFunction = (...numbers: readonly (number | bigint)[]) => unknown;
export type WasmImports = Readonly<Record<string, Readonly<Record<string, (...numbers: never[]) => unknown>>>>;

interface WebAssemblyApi {
  compile(bytes: Uint8Array): Promise<WasmModule>;
  readonly Module: { imports(module: WasmModule): readonly { readonly module: string; readonly name: string }[] };
  readonly Instance: new (
    module: WasmModule,
    imports: WasmImports,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}

export const webAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
