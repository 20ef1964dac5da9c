// What tests and benchmarks of whole clusters use of the command's own code.

export { runCli } from "./cli.ts";
export { EXIT, type ExitCode } from "./exit-code.ts";
export { type AgentRow, type Overview, overview } from "./operations/agents.ts";
export { type Host, listHosts } from "./operations/hosts.ts";
export { type Verification, type VerifyRequest, verifyAgent } from "./operations/lineage.ts";
export { type MigrateRequest, type Migration, migrateAgent } from "./operations/migrate.ts";
export { type RunRequest, runAgent, type StartedAgent } from "./operations/run-agent.ts";
export { Session, type SessionRules } from "./session.ts";
export type { Surroundings, Terminal } from "./terminal.ts";
