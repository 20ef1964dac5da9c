/** What agents may use. Every number is checked when the sandbox is built. */
export interface SandboxRules {
  /** Worker threads that run agents; one more is kept warm to take the place of one that is lost. */
  readonly workers: number;
  /** The longest that one `agent_tick` may run. */
  readonly tickTimeoutMs: number;
  /** The longest that any other call into an agent may run: instantiation, start function, `_initialize`, `agent_init`, checkpoint, `malloc`, resume. */
  readonly callTimeoutMs: number;
  /** An agent's linear memory; a manifest may ask for less. */
  readonly maxMemoryBytes: number;
  readonly maxModuleBytes: number;
  /** What `agent_checkpoint` may answer. */
  readonly maxStateBytes: number;
  /** Log messages of one tick together; what does not fit is dropped and counted. */
  readonly maxLogBytes: number;
  /** The event log of one tick; the call that does not fit ends the tick. */
  readonly maxEventBytes: number;
}

export const pageBytes = 65_536;

/**
 * The engine collects garbage at every single growth of a memory that is larger than this, and a worker that does so cannot be ended
 * before it is done: a loop that grows by a page at a time holds a processor for seconds (6 s for 128 MiB, 100 s for 1 GiB).
 */
const mostMemoryBytes = 1_024 * pageBytes;

export const defaultSandboxRules: SandboxRules = {
  workers: 2,
  tickTimeoutMs: 100,
  callTimeoutMs: 1_000,
  maxMemoryBytes: mostMemoryBytes,
  maxModuleBytes: 8 << 20,
  maxStateBytes: 16 << 20,
  maxLogBytes: 64 << 10,
  maxEventBytes: 1 << 20,
};

/** @throws RangeError that names the rule: rules come from configuration, which has its own checks, so this is a bug. */
export function checkRules(rules: SandboxRules): SandboxRules {
  within("workers", rules.workers, { min: 1, max: 64 });
  within("tickTimeoutMs", rules.tickTimeoutMs, { min: 1, max: 600_000 });
  within("callTimeoutMs", rules.callTimeoutMs, { min: 1, max: 600_000 });
  within("maxMemoryBytes", rules.maxMemoryBytes, { min: pageBytes, max: mostMemoryBytes });
  within("maxModuleBytes", rules.maxModuleBytes, { min: 8, max: 256 << 20 });
  within("maxStateBytes", rules.maxStateBytes, { min: 0, max: 1 << 30 });
  within("maxLogBytes", rules.maxLogBytes, { min: 0, max: 16 << 20 });
  within("maxEventBytes", rules.maxEventBytes, { min: 0, max: 16 << 20 });
  return rules;
}

function within(name: string, value: number, { min, max }: { min: number; max: number }): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
  }
}
