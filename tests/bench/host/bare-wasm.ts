// WebAssembly as the engine offers it, without anything of Godwit: what the floors run.
//
// The compiler describes WebAssembly only together with the whole browser, so the little that is used is described here.

declare const moduleBrand: unique symbol;

export interface BareModule {
  readonly [moduleBrand]: true;
}

export type BareExports = Readonly<Record<string, (...numbers: readonly number[]) => unknown>>;

interface WebAssemblyApi {
  readonly Module: {
    new (bytes: Uint8Array): BareModule;
    imports(module: BareModule): readonly { readonly module: string; readonly name: string }[];
  };
  readonly Instance: new (module: BareModule, imports: object) => { readonly exports: BareExports };
}

const api = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;

export function compileBare(bytes: Uint8Array): BareModule {
  return new api.Module(bytes);
}

/** With imports that do nothing but tell the time. */
export function instantiateBare(module: BareModule): BareExports {
  const imports: Record<string, Record<string, () => bigint | number>> = {};
  for (const { module: from, name } of api.Module.imports(module)) {
    const functions = imports[from] ?? {};
    functions[name] = bareImports[name] ?? (() => 0);
    imports[from] = functions;
  }
  return new api.Instance(module, imports).exports;
}

const bareImports: Readonly<Record<string, () => bigint | number>> = {
  clock_now: () => BigInt(Date.now()) * 1_000_000n,
  node_price: () => 1_000n,
  wallet_balance: () => 1_000_000n,
};
