// What a registry is made from inside another process. Only the simulation and the tests of whole clusters import this.

export { REGISTRY_CRASH_POINTS, type RegistryCrashPoint } from "./authority/crash-points.ts";
export { decodeRecord } from "./authority/record-codec.ts";
export { assemble, loops, type RegistryGraph } from "./compose.ts";
export { type RegistryConfig, registryOptions } from "./config.ts";
export type { KeyStore } from "./mark/key-file.ts";
export { newMark, readMark, statementIn } from "./mark/mark.ts";
export { MemoryStore, type StoreWitness } from "./memory/memory-store.ts";
export type { RecordChange, RegistryStore } from "./store/registry-store.ts";
