// What WASI answers an agent: time and random bytes through the calls that are recorded, its output as log lines, and nothing else of the
// machine. There are no arguments, no environment, no files, no sockets, and nobody to wait for.

import { maxLogMessageBytes, maxRandomBytes } from "../abi.ts";
import { errno, type WasiGrant, type WasiName, wasiIds, wasiNames } from "../wasi-abi.ts";
import type { HostcallContext } from "./hostcalls.ts";
import { drawRandom, repeatRandom } from "./random.ts";

/** The agent's own end, by `proc_exit`. */
export class ProcessExit extends Error {
  override readonly name = "ProcessExit";
  readonly code: number;

  constructor(code: number) {
    super(`it ended itself with proc_exit(${code})`);
    this.code = code;
  }
}

type WasiFunction = (...args: never[]) => number;

const realtime = 0;
const monotonic = 1;
/** What `clock_now` is rounded to. */
const resolutionNs = 1_000_000n;
const stdout = 1;
const stderr = 2;
const characterDevice = 2;
const clockEvent = 0;
/** The timeout of a clock is a time, not a duration. */
const untilTime = 1;
const subscriptionBytes = 48;
const eventBytes = 32;
/** An agent has nothing to wait for; a runtime asks for a sleep at a time. */
const mostSubscriptions = 64;
const mostVectors = 1_024;

/** Whether a module can see the time here; only then is it recorded. */
export function showsTime({ clock, functions }: WasiGrant): boolean {
  return clock && functions.includes("clock_time_get");
}

export function wasiImports(context: HostcallContext, grant: WasiGrant): Readonly<Record<string, WasiFunction>> {
  const answered: Partial<Record<WasiName, WasiFunction>> = {
    args_sizes_get: (count: number, bytes: number) => zeros(context, count, bytes),
    args_get: () => errno.success,
    environ_sizes_get: (count: number, bytes: number) => zeros(context, count, bytes),
    environ_get: () => errno.success,
    clock_res_get: (clock: number, at: number) => clockResolution(context, grant, { clock, at }),
    clock_time_get: (clock: number, _precision: bigint, at: number) => clockTime(context, grant, { clock, at }),
    random_get: (at: number, length: number) => randomBytes(context, grant, { at, length }),
    fd_write: (fd: number, vectors: number, count: number, written: number) =>
      write(context, { fd, vectors, count, written }),
    fd_read: (fd: number, _vectors: number, _count: number, read: number) =>
      fd === 0 ? put32(context, read, 0) : errno.badf,
    fd_fdstat_get: (fd: number, at: number) => fileStatus(context, fd, at),
    fd_close: () => errno.badf,
    fd_prestat_get: () => errno.badf,
    fd_prestat_dir_name: () => errno.badf,
    fd_seek: () => errno.badf,
    fd_tell: () => errno.badf,
    fd_filestat_get: () => errno.badf,
    fd_fdstat_set_flags: (fd: number) => (isStandard(fd) ? errno.success : errno.badf),
    poll_oneoff: (subscriptions: number, events: number, count: number, happened: number) =>
      poll(context, { subscriptions, events, count, happened }),
    sched_yield: () => errno.success,
    proc_exit: (code: number) => {
      throw new ProcessExit(code);
    },
  };
  const imported = wasiNames.filter((name) => grant.functions.includes(name));
  return Object.fromEntries(imported.map((name) => [name, answered[name] ?? (() => errno.nosys)]));
}

function clockTime(context: HostcallContext, grant: WasiGrant, { clock, at }: { clock: number; at: number }): number {
  if (!grant.clock) return errno.notcapable;
  if (clock !== realtime && clock !== monotonic) return errno.inval;
  const target = context.bytes(at, 8);
  if (target === undefined) return errno.fault;
  viewOf(target).setBigUint64(0, context.tickTime.nowNs, true);
  return errno.success;
}

function clockResolution(
  context: HostcallContext,
  grant: WasiGrant,
  { clock, at }: { clock: number; at: number },
): number {
  if (!grant.clock) return errno.notcapable;
  if (clock !== realtime && clock !== monotonic) return errno.inval;
  const target = context.bytes(at, 8);
  if (target === undefined) return errno.fault;
  viewOf(target).setBigUint64(0, resolutionNs, true);
  return errno.success;
}

function randomBytes(
  context: HostcallContext,
  grant: WasiGrant,
  { at, length }: { at: number; length: number },
): number {
  const { tape, machine } = context;
  const size = length >>> 0;
  tape.begin(wasiIds.random_get);
  tape.number(size);
  if (!grant.rand) return tape.settled(errno.notcapable);
  if (size === 0) return tape.settled(errno.success);
  if (size > maxRandomBytes) return tape.settled(errno.inval);
  const target = context.bytes(at, size);
  if (target === undefined) return tape.settled(errno.fault);
  if (tape.replaying) {
    const { result, payload } = tape.taken();
    if (result === BigInt(errno.io) && payload.length === 0) return tape.ended(errno.io);
    if (result !== 0n || !repeatRandom(payload, target)) {
      return tape.diverge(`no host answers random_get of ${size} bytes as the record does`);
    }
    return tape.ended(errno.success);
  }
  const drawn = drawRandom(machine, target);
  return drawn === undefined ? tape.given(errno.io) : tape.given(errno.success, drawn);
}

/** Output is what the agent says: a line of it is a line of its log. */
function write(
  context: HostcallContext,
  { fd, vectors, count, written }: { fd: number; vectors: number; count: number; written: number },
): number {
  const { tape } = context;
  tape.begin(wasiIds.fd_write);
  tape.number(fd);
  if (fd !== stdout && fd !== stderr) return tape.settled(errno.badf);
  const content = gathered(context, vectors, count >>> 0);
  if (typeof content === "number") return tape.settled(content);
  tape.number(content.length);
  tape.content(content);
  const wrote = put32(context, written, content.length);
  tape.settled(wrote);
  if (wrote === errno.success && !tape.replaying) context.output.write(content);
  return wrote;
}

function gathered(context: HostcallContext, vectors: number, count: number): Uint8Array | number {
  if (count > mostVectors) return errno.inval;
  const list = context.bytes(vectors, count * 8);
  if (list === undefined) return errno.fault;
  const view = viewOf(list);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let index = 0; index < count; index++) {
    const part = context.bytes(view.getUint32(index * 8, true), view.getUint32(index * 8 + 4, true));
    if (part === undefined) return errno.fault;
    total += part.length;
    if (total > maxLogMessageBytes) return errno.inval;
    parts.push(part);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

function fileStatus(context: HostcallContext, fd: number, at: number): number {
  if (!isStandard(fd)) return errno.badf;
  const status = context.bytes(at, 24);
  if (status === undefined) return errno.fault;
  status.fill(0);
  status[0] = characterDevice;
  return errno.success;
}

/** A sleep is over at once, and the tick's time has moved on by it; whatever else is waited for is not there. */
function poll(
  context: HostcallContext,
  at: { subscriptions: number; events: number; count: number; happened: number },
): number {
  const count = at.count >>> 0;
  if (count === 0 || count > mostSubscriptions) return errno.inval;
  const subscriptions = context.bytes(at.subscriptions, count * subscriptionBytes)?.slice(); // the events may lie over them
  const events = context.bytes(at.events, count * eventBytes);
  if (subscriptions === undefined || events === undefined) return errno.fault;
  events.fill(0);
  const { tickTime } = context;
  let sleptNs = 0n;
  for (let index = 0; index < count; index++) {
    const from = index * subscriptionBytes;
    const to = index * eventBytes;
    const kind = subscriptions[from + 8] ?? 0;
    events.set(subscriptions.subarray(from, from + 8), to);
    events[to + 8] = kind === clockEvent ? errno.success : errno.badf;
    events[to + 10] = kind;
    if (kind !== clockEvent) continue;
    const view = viewOf(subscriptions.subarray(from, from + subscriptionBytes));
    const timeoutNs = view.getBigUint64(24, true);
    const forNs = view.getUint16(40, true) & untilTime ? timeoutNs - tickTime.nowNs : timeoutNs;
    if (forNs > sleptNs) sleptNs = forNs;
  }
  tickTime.sleep(sleptNs);
  return put32(context, at.happened, count);
}

function zeros(context: HostcallContext, one: number, other: number): number {
  const first = put32(context, one, 0);
  return first === errno.success ? put32(context, other, 0) : first;
}

function put32(context: HostcallContext, at: number, value: number): number {
  const target = context.bytes(at, 4);
  if (target === undefined) return errno.fault;
  viewOf(target).setUint32(0, value, true);
  return errno.success;
}

function isStandard(fd: number): boolean {
  return fd >= 0 && fd <= stderr;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
