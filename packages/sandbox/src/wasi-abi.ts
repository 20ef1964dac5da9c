// WASI preview 1 as compilers' runtimes import it. All of it links, so that a module which merely carries a runtime may start; what an
// agent gets from it goes through the same recorded and capability-gated calls as everything else (T-46).

import type { FunctionType, ValueType } from "./abi.ts";

export const wasiModule = "wasi_snapshot_preview1";

/** Parameters of each function, "i" a 32-bit and "l" a 64-bit number; all but `proc_exit` answer an errno. */
const parameters = {
  args_get: "ii",
  args_sizes_get: "ii",
  clock_res_get: "ii",
  clock_time_get: "ili",
  environ_get: "ii",
  environ_sizes_get: "ii",
  fd_advise: "illi",
  fd_allocate: "ill",
  fd_close: "i",
  fd_datasync: "i",
  fd_fdstat_get: "ii",
  fd_fdstat_set_flags: "ii",
  fd_fdstat_set_rights: "ill",
  fd_filestat_get: "ii",
  fd_filestat_set_size: "il",
  fd_filestat_set_times: "illi",
  fd_pread: "iiili",
  fd_prestat_dir_name: "iii",
  fd_prestat_get: "ii",
  fd_pwrite: "iiili",
  fd_read: "iiii",
  fd_readdir: "iiili",
  fd_renumber: "ii",
  fd_seek: "ilii",
  fd_sync: "i",
  fd_tell: "ii",
  fd_write: "iiii",
  path_create_directory: "iii",
  path_filestat_get: "iiiii",
  path_filestat_set_times: "iiiilli",
  path_link: "iiiiiii",
  path_open: "iiiiillii",
  path_readlink: "iiiiii",
  path_remove_directory: "iii",
  path_rename: "iiiiii",
  path_symlink: "iiiii",
  path_unlink_file: "iii",
  poll_oneoff: "iiii",
  proc_exit: "i",
  proc_raise: "i",
  random_get: "ii",
  sched_yield: "",
  sock_accept: "iii",
  sock_recv: "iiiiii",
  sock_send: "iiiii",
  sock_shutdown: "ii",
} as const satisfies Record<string, string>;

export type WasiName = keyof typeof parameters;

export const wasiNames = Object.keys(parameters) as readonly WasiName[];

/** Their numbers in event logs, `tick_time` for what a whole tick sees of `clock_time_get`; what is not here follows from its arguments. */
export const wasiIds = { tick_time: 64, random_get: 65, fd_write: 66 } as const;

/** As WASI has them. */
export const errno = { success: 0, badf: 8, fault: 21, inval: 28, io: 29, nosys: 52, notcapable: 76 } as const;

/** What a module imports of it, and what of that its manifest lets it have. */
export interface WasiGrant {
  readonly functions: readonly WasiName[];
  readonly clock: boolean;
  readonly rand: boolean;
}

export function isWasi(name: string): name is WasiName {
  return Object.hasOwn(parameters, name);
}

export function wasiType(name: WasiName): FunctionType {
  const params = Array.from(parameters[name], (letter): ValueType => (letter === "l" ? "i64" : "i32"));
  return { params, results: name === "proc_exit" ? [] : ["i32"] };
}
