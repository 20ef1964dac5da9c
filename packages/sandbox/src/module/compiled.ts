import { createHash } from "node:crypto";
import { Fault } from "@godwit/common/fault";
import type { Capability, HostcallName } from "../abi.ts";
import { compileWasm, type WasmModule } from "../engine.ts";
import { pageBytes } from "../rules.ts";
import { type AdmittedShape, admit, checkDeclared, checkSize, type ModuleLimits, memoryPages } from "./admit.ts";
import { bound } from "./bound.ts";
import { ModuleRefused } from "./reader.ts";

type Engine = (bytes: Uint8Array) => Promise<WasmModule>;

/** A module that may run; compiled once, its code is shared by all workers. */
export interface CompiledModule {
  /** SHA-256 of the bytes as they were given, in hex. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** The functions of the host that it needs. */
  readonly imports: readonly HostcallName[];
}

/** Memory limits for which a module's code is kept for the next agent; one that runs has its code without this. */
const mostCodesKept = 4;

export class AdmittedModule implements CompiledModule {
  readonly digest: string;
  readonly shape: AdmittedShape;
  readonly #bytes: Uint8Array;
  /** By maximum of memory pages, since the maximum is part of the code; the one that was asked for last comes last. */
  readonly #codes = new Map<number, Promise<WasmModule>>();
  readonly #engine: Engine;

  constructor(bytes: Uint8Array, digest: string, { shape, engine }: { shape: AdmittedShape; engine: Engine }) {
    this.#bytes = bytes;
    this.digest = digest;
    this.shape = shape;
    this.#engine = engine;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  get imports(): readonly HostcallName[] {
    return this.shape.hostcalls;
  }

  /** The code whose memory cannot grow beyond so many bytes. @throws Fault MODULE_INVALID */
  async code(maxMemoryBytes: number): Promise<{ readonly code: WasmModule; readonly maxMemoryBytes: number }> {
    const allowedPages = Math.max(1, Math.floor(maxMemoryBytes / pageBytes));
    let pages: number;
    try {
      pages = memoryPages(this.shape, allowedPages);
    } catch (cause) {
      throw moduleInvalid(cause);
    }
    const compiling = this.#codes.get(pages) ?? this.#compile(pages);
    this.#codes.delete(pages);
    this.#codes.set(pages, compiling);
    const [oldest = pages] = this.#codes.keys();
    if (this.#codes.size > mostCodesKept) this.#codes.delete(oldest);
    return { code: await compiling, maxMemoryBytes: pages * pageBytes };
  }

  async #compile(pages: number): Promise<WasmModule> {
    try {
      return await this.#engine(bound(this.#bytes, this.shape, pages));
    } catch (cause) {
      this.#codes.delete(pages);
      throw moduleInvalid(cause);
    }
  }
}

/** Modules that are kept for whoever asks for them next; those that agents run have their code without this. */
const mostBytesKept = 64 << 20;
const mostModulesKept = 256;

/**
 * Modules by digest, those that were asked for last. Two that ask for the same one at the same time share one compilation. Bounded: a peer
 * may offer any number of modules (T-25).
 */
export class ModuleCache {
  readonly #limits: ModuleLimits;
  readonly #engine: Engine;
  readonly #modules = new Map<string, AdmittedModule>();

  constructor(limits: ModuleLimits, engine: Engine = compileWasm) {
    this.#limits = limits;
    this.#engine = engine;
  }

  /** @throws Fault MODULE_INVALID */
  async compile(bytes: Uint8Array, declared: ReadonlySet<Capability>): Promise<AdmittedModule> {
    const module = this.#admit(bytes, declared);
    this.#keep(module);
    try {
      await module.code(this.#limits.maxMemoryBytes);
    } catch (error) {
      this.#modules.delete(module.digest);
      throw error;
    }
    return module;
  }

  release(digest: string): void {
    this.#modules.delete(digest);
  }

  #keep(module: AdmittedModule): void {
    this.#modules.delete(module.digest);
    this.#modules.set(module.digest, module);
    let bytes = 0;
    for (const { sizeBytes } of this.#modules.values()) bytes += sizeBytes;
    for (const oldest of this.#modules.values()) {
      const fits = bytes <= mostBytesKept && this.#modules.size <= mostModulesKept;
      if (fits || oldest === module) return;
      this.#modules.delete(oldest.digest);
      bytes -= oldest.sizeBytes;
    }
  }

  #admit(bytes: Uint8Array, declared: ReadonlySet<Capability>): AdmittedModule {
    try {
      checkSize(bytes, this.#limits); // before it is hashed
      const digest = createHash("sha256").update(bytes).digest("hex");
      const module = this.#modules.get(digest) ?? this.#read(bytes, digest);
      checkDeclared(module.imports, declared);
      return module;
    } catch (cause) {
      throw moduleInvalid(cause);
    }
  }

  #read(bytes: Uint8Array, digest: string): AdmittedModule {
    const own = new Uint8Array(bytes); // the caller may change its buffer
    return new AdmittedModule(own, digest, { shape: admit(own), engine: this.#engine });
  }
}

/** Makes the fault of what an agent's module did wrong; anything else stays the bug that it is. */
function moduleInvalid(cause: unknown): unknown {
  if (cause instanceof ModuleRefused)
    return new Fault({ code: "MODULE_INVALID", reason: `it ${cause.message}` }, { cause });
  if (cause instanceof Error && cause.name === "CompileError") {
    const reason = `it does not compile: ${cause.message.replace(/^WebAssembly\.compile\(\): /, "")}`;
    return new Fault({ code: "MODULE_INVALID", reason }, { cause });
  }
  return cause;
}
