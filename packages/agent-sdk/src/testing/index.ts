export { type CompileOptions, compile } from "./compile.ts";
export type { Capability, HostcallName } from "./hostcalls.ts";
export { MockHost, type MockHostOptions } from "./mock-host.ts";
export type { ReceiptFields } from "./receipts.ts";
export { AgentTrapped, TestAgent, type TestAgentOptions, type TestManifest, type Tick } from "./test-agent.ts";
