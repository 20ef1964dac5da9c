// An agent on a host of its own, inside a test: no sandbox, no network, no waiting.
//
// It is treated as a real host treats it: after each tick its state is taken; a tick that traps has not happened, and the agent goes on
// in a new instance from the state before. Each tick is also replayed, in a new instance made of the state before it and with the answers
// that it got: a host would find an agent that does not come to the same state a liar.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Capability, capabilityOf, describeQuestion, type Question, type Reply } from "./hostcalls.ts";
import { Instance, type InstanceParts } from "./instance.ts";
import { MockHost, type MockHostOptions } from "./mock-host.ts";
import { webAssembly } from "./wasm.ts";

/** Of a manifest what the test host looks at. */
export interface TestManifest {
  readonly capabilities?: Readonly<Record<string, { readonly version: number }>>;
  readonly resource_limits?: { readonly max_memory_bytes?: number; readonly max_storage_bytes?: number };
}

export interface TestAgentOptions extends MockHostOptions {
  /** Its manifest's file, or the manifest. By default the file beside the module that ends in .manifest.json. */
  readonly manifest?: string | URL | TestManifest;
  /** To resume it from; without one it begins. */
  readonly state?: Uint8Array;
  /** Whether each tick is replayed; true by default. */
  readonly replay?: boolean;
}

export interface Tick {
  /** Whether the agent wants its next tick at once. */
  readonly moreWork: boolean;
  /** What it said. */
  readonly logs: readonly string[];
  /** After the tick. */
  readonly state: Uint8Array;
}

/** The agent trapped: `logs` has what it said before, which for an agent of the SDK ends with why. */
export class AgentTrapped extends Error {
  override readonly name = "AgentTrapped";
  readonly logs: readonly string[];

  constructor(during: string, logs: readonly string[], cause: unknown) {
    const said = logs.length === 0 ? "" : `; it said: ${logs.join(" | ")}`;
    super(`${during}: ${cause instanceof Error ? cause.message : String(cause)}${said}`, { cause });
    this.logs = logs;
  }
}

interface Exchange {
  readonly question: string;
  readonly reply: Reply;
}

export class TestAgent {
  readonly host: MockHost;
  readonly #parts: InstanceParts;
  readonly #replays: boolean;
  #instance: Instance;
  #state: Uint8Array;
  #ticks = 0;

  private constructor(parts: InstanceParts, options: TestAgentOptions) {
    this.host = new MockHost(options);
    this.#parts = parts;
    this.#replays = options.replay ?? true;
    this.#instance = this.#made(options.state);
    this.#state = this.#instance.checkpoint();
  }

  /** `module`: its file, or its bytes. @throws AgentTrapped if it does not begin, or refuses the state. */
  static async load(module: string | URL | Uint8Array, options: TestAgentOptions = {}): Promise<TestAgent> {
    const bytes = module instanceof Uint8Array ? module : await readFile(module);
    const [compiled, terms] = await Promise.all([
      webAssembly.compile(bytes),
      termsOf(options.manifest ?? besides(module)),
    ]);
    checkImports(webAssembly.Module.imports(compiled), terms.granted);
    return new TestAgent({ module: compiled, ...terms }, options);
  }

  /** As of the last tick that went well. */
  get state(): Uint8Array {
    return this.#state.slice();
  }

  /** What the module exports, for functions that it exports beside those of an agent. */
  get exports(): Readonly<Record<string, unknown>> {
    return this.#instance.exports;
  }

  /** @throws AgentTrapped: the tick has not happened. An Error if it does not replay. */
  tick(): Tick {
    const number = this.#ticks + 1;
    const before = this.#state;
    const asked: Exchange[] = [];
    const from = this.host.logs.length;
    let moreWork: boolean;
    let state: Uint8Array;
    try {
      moreWork = this.#instance.tick((question) => this.#record(question, asked));
      state = this.#instance.checkpoint();
    } catch (cause) {
      this.#instance = this.#made(before);
      throw new AgentTrapped(`tick ${number} trapped`, this.host.logs.slice(from), cause);
    }
    this.#state = state;
    this.#ticks = number;
    if (this.#replays) this.#replay(number, { before, asked, after: state });
    return { moreWork, logs: this.host.logs.slice(from), state: state.slice() };
  }

  /** So many ticks; what the last one gave. */
  ticks(count: number): Tick {
    for (let left = count; left > 1; left--) this.tick();
    return this.tick();
  }

  /** Goes on in a new instance, as after a crash or a move: by default from the state of the last tick. @throws AgentTrapped */
  resume(state: Uint8Array = this.#state): void {
    this.#instance = this.#made(state);
    this.#state = state.slice();
  }

  #record(question: Question, asked: Exchange[]): Reply {
    const reply = this.host.answer(question);
    asked.push({ question: describeQuestion(question), reply });
    return reply;
  }

  /** `logs`: where goes what it says outside of its ticks. */
  #made(state: Uint8Array | undefined, logs: string[] = this.host.logs): Instance {
    const from = logs.length;
    try {
      return new Instance(this.#parts, { state, onLog: (message) => logs.push(message) });
    } catch (cause) {
      const what = state === undefined ? "it does not begin" : "it does not resume";
      throw new AgentTrapped(what, logs.slice(from), cause);
    }
  }

  #replay(number: number, { before, asked, after }: Record<"before" | "after", Uint8Array> & { asked: Exchange[] }) {
    let at = 0;
    const answer = (question: Question): Reply => {
      const text = describeQuestion(question);
      const exchange = asked[at++];
      if (exchange?.question === text) return exchange.reply;
      throw new Error(`its call ${at} is ${text}, and was ${exchange?.question ?? "none"}`);
    };
    const differs = (why: string, cause?: unknown): Error =>
      new Error(
        `tick ${number} does not replay: ${why}. Whatever a tick depends on has to be in the state, or a host's answer`,
        { cause },
      );
    const instance = this.#made(before, []); // what it says there was said before
    let state: Uint8Array;
    try {
      instance.tick(answer);
      state = instance.checkpoint();
    } catch (cause) {
      throw differs(cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (at < asked.length) throw differs(`it ends without its call ${at + 1}, ${asked[at]?.question}`);
    const first = firstDifference(state, after);
    if (first !== undefined) throw differs(`from byte ${first} on the state is another one`);
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  for (let at = 0; at < Math.max(a.length, b.length); at++) if (a[at] !== b[at]) return at;
  return undefined;
}

function besides(module: string | URL | Uint8Array): string {
  if (module instanceof Uint8Array) throw new Error("of bytes it is not known where the manifest is: say manifest");
  const path = typeof module === "string" ? module : fileURLToPath(module);
  return path.replace(/\.wasm$/, ".manifest.json");
}

type Terms = Omit<InstanceParts, "module">;

/** What a host gives, where the manifest says nothing. */
const hostLimits = { maxMemoryBytes: 64 << 20, maxStateBytes: 16 << 20 } as const;

/** What the agent may use, by its manifest. @throws Error if it is one that hosts refuse. */
async function termsOf(manifest: string | URL | TestManifest): Promise<Terms> {
  const isFile = typeof manifest === "string" || manifest instanceof URL;
  const { capabilities, resource_limits: limits } = isFile ? await readManifest(manifest) : manifest;
  const declared = Object.entries(capabilities ?? {});
  const known: ReadonlySet<string> = new Set(Object.values(capabilityOf));
  const unknown = declared.filter(([name]) => !known.has(name)).map(([name]) => name);
  if (unknown.length > 0) throw new Error(`the manifest wants ${unknown.join(", ")}, which no host has`);
  for (const [name, { version }] of declared) {
    if (version !== 1) throw new Error(`of the capability ${name} the manifest wants another version than 1`);
  }
  const { max_memory_bytes: memory, max_storage_bytes: state } = limits ?? {};
  if ((memory ?? 0) > hostLimits.maxMemoryBytes) {
    throw new Error(`the manifest wants ${memory} bytes of memory; a host gives ${hostLimits.maxMemoryBytes}`);
  }
  return {
    granted: new Set(declared.map(([name]) => name as Capability)),
    maxMemoryBytes: memory || hostLimits.maxMemoryBytes, // 0 is no limit of its own
    maxStateBytes: Math.min(state || hostLimits.maxStateBytes, hostLimits.maxStateBytes),
  };
}

async function readManifest(path: string | URL): Promise<TestManifest> {
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text) as TestManifest;
  } catch (cause) {
    throw new Error(`${String(path)} is no JSON: ${String(cause)}`, { cause });
  }
}

function checkImports(
  imports: readonly { readonly module: string; readonly name: string }[],
  granted: ReadonlySet<Capability>,
): void {
  for (const { module, name } of imports) {
    const capability = (capabilityOf as Readonly<Record<string, Capability | undefined>>)[name];
    if (capability === undefined || (module !== "godwit" && module !== "igor")) {
      throw new Error(`the module imports ${module}.${name}, which the test host does not have`);
    }
    if (!granted.has(capability)) {
      throw new Error(`the module imports ${name}: add the capability ${capability} to the manifest`);
    }
  }
}
