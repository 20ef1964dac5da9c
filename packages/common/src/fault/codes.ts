// Every expected failure of Godwit, once: its code, the data that travels with it, and its text.
//
// A new code is one row. From this table come the type of a Fault's detail, its message and its wire form; the gRPC
// status of a code is the business of @godwit/grpc, which does not compile until it has a row for it.
// A message says what is wrong and what to do. Nobody matches on messages.

import { code, type DataOf, type Rows } from "./row.ts";

const none = {} as const;
const agent = { agentId: "string" } as const;
const host = { hostId: "string" } as const;
const why = { reason: "string" } as const;

export const FAULTS = {
  // What the registry refuses (protocol, section 4), in the order in which it checks.
  STALE_INCARNATION: code(
    { current: "string" },
    (f) => `the registry's store has a new incarnation, ${f.current}: read the record again and decide anew`,
  ),
  QUARANTINE: code(why, (f) => `the registry does not serve this now: ${f.reason}`),
  SESSION_UNKNOWN: code(host, (f) => `the registry does not know this session of host ${f.hostId}: open a new one`),
  SESSION_VOID: code(
    host,
    (f) => `this session of host ${f.hostId} has ended for good: open a new one and recover its agents under that`,
  ),
  BAD_SECRET: code(
    host,
    (f) =>
      `the command does not carry the secret of this session of host ${f.hostId}: use the one that open_session answered`,
  ),
  NO_RECORD: code(agent, (f) => `the registry has no record of agent ${f.agentId}: check the id`),
  EXISTS: code(agent, (f) => `agent ${f.agentId} exists already: create another with a new nonce`),
  BAD_GENESIS: code(
    agent,
    (f) => `the genesis does not give agent ${f.agentId}, names another host or another incarnation: make a new one`,
  ),
  TERMINATED: code(agent, (f) => `agent ${f.agentId} was terminated and never runs again`),
  NOT_OWNER: code(agent, (f) => `another session owns agent ${f.agentId}: stop ticking it and read the record`),
  STALE_REVISION: code(
    { offered: "bigint", current: "bigint" },
    (f) => `the record has moved on from revision ${f.offered} to ${f.current}: read it again and decide anew`,
  ),
  OWNER_ALIVE: code(
    { agentId: "string", owner: "string" },
    (f) => `agent ${f.agentId} belongs to session ${f.owner}, which is not void: wait until it is`,
  ),
  HANDOFF_IN_PROGRESS: code(
    agent,
    (f) => `a handoff of agent ${f.agentId} is under way: wait for its end or revert it`,
  ),
  HANDOFF_SUPERSEDED: code(
    agent,
    (f) => `this handoff of agent ${f.agentId} is dead: drop what was staged for it once the record shows that`,
  ),
  DIVERGENT_LINEAGE: code(
    agent,
    (f) => `agent ${f.agentId} has two different checkpoints of one tick: an operator has to choose with force_recover`,
  ),
  RECOVERY_REQUIRED: code(agent, (f) => `agent ${f.agentId} needs recovery: recover it from its newest checkpoint`),
  BASE_UNCONFIRMED: code(agent, (f) => `the base of agent ${f.agentId} is not confirmed: report it as head first`),
  STALE_CHECKPOINT: code(
    agent,
    (f) =>
      `a newer checkpoint of agent ${f.agentId} is known, or this one is not on its lineage: recover from an acceptable one`,
  ),
  BAD_TOKEN: code(
    agent,
    (f) => `the relinquish token for agent ${f.agentId} is not the one of this handoff: ask the source for another`,
  ),

  // What callers ask for.
  INVALID_ARGUMENT: code({ field: "string", reason: "string" }, (f) => `${f.field}: ${f.reason}`),
  AMBIGUOUS_ID: code(
    { prefix: "string", matches: "strings" },
    (f) => `${f.prefix} could be ${f.matches.join(", ")}: give more characters`,
  ),
  AGENT_UNKNOWN: code(agent, (f) => `there is no agent ${f.agentId}: list the agents to see which there are`),
  AGENT_NOT_HERE: code(
    agent,
    (f) => `agent ${f.agentId} does not run on this host: ask the registry which host has it`,
  ),
  AGENT_EXISTS: code(agent, (f) => `agent ${f.agentId} is on this host already`),
  AGENT_NOT_RUNNING: code(
    { agentId: "string", reason: "string" },
    (f) => `agent ${f.agentId} is not running (${f.reason}): recover it first`,
  ),
  HOST_UNKNOWN: code(host, (f) => `there is no host ${f.hostId}: list the hosts to see which there are`),
  HOST_DRAINING: code(host, (f) => `host ${f.hostId} is draining and takes no agents: choose another`),
  QUARANTINE_OVER: code(
    none,
    () =>
      "the registry is not in quarantine, and only then is anything reasserted: open a new session and recover its agents",
  ),
  FORCE_REFUSED: code(
    { agentId: "string", refusal: "string", reason: "string" },
    (f) => `the registry did not take the choice for agent ${f.agentId} (${f.refusal}): ${f.reason}`,
  ),
  SESSION_EXISTS: code(
    host,
    (f) => `this boot id of host ${f.hostId} was used before: open the session with a new one`,
  ),
  SESSION_NOT_OPEN: code(
    why,
    (f) => `this host has no live session with the registry (${f.reason}): try again when it has`,
  ),
  LEASE_EXPIRED: code(
    agent,
    (f) =>
      `the lease over agent ${f.agentId} has passed its deadline on this host: nothing is committed until it is renewed`,
  ),

  // Agents and what they bring.
  MODULE_INVALID: code(why, (f) => `the module cannot run: ${f.reason}`),
  MANIFEST_INVALID: code(why, (f) => `the manifest is not valid: ${f.reason}`),
  STATE_INVALID: code(why, (f) => `the agent's state is not valid: ${f.reason}`),
  CAPABILITY_MISSING: code(
    { missing: "strings" },
    (f) => `the host lacks ${f.missing.join(", ")}: choose a host that has them, or remove them from the manifest`,
  ),
  MEMORY_TOO_LARGE: code(
    { needed: "number", limit: "number" },
    (f) => `the agent needs ${f.needed} bytes of memory, the host gives ${f.limit}: choose a larger host`,
  ),
  PRICE_TOO_HIGH: code(
    { price: "bigint", limit: "bigint" },
    (f) => `the host's price of ${f.price} microcents a second is above the agent's maximum of ${f.limit}`,
  ),
  BUDGET_INVALID: code(why, (f) => `the budget is not valid: ${f.reason}`),
  BUDGET_EXHAUSTED: code(agent, (f) => `the budget of agent ${f.agentId} is used up: fund it to let it go on`),
  FUNDING_UNKNOWN: code(
    { agentId: "string", fundingId: "string", reason: "string" },
    (f) =>
      `it is not known whether agent ${f.agentId} was funded (${f.reason}): fund it again with --id ${f.fundingId}, which is applied once`,
  ),
  TICK_FAILED: code(
    { agentId: "string", reason: "string" },
    (f) => `the tick of agent ${f.agentId} failed: ${f.reason}`,
  ),

  // Migration.
  MIGRATION_DISABLED: code(agent, (f) => `the manifest of agent ${f.agentId} forbids migration`),
  MIGRATION_IN_PROGRESS: code(agent, (f) => `agent ${f.agentId} is being migrated already: wait for that to end`),
  MIGRATION_FAILED: code(
    { agentId: "string", reason: "string" },
    (f) => `agent ${f.agentId} could not be migrated: ${f.reason}`,
  ),
  NO_CANDIDATE: code(
    { agentId: "string", reason: "string" },
    (f) => `no host can take agent ${f.agentId}: ${f.reason}`,
  ),
  TARGET_BUSY: code(host, (f) => `host ${f.hostId} is busy: try again later or choose another`),
  POLICY_REFUSED: code(
    { hostId: "string", reason: "string" },
    (f) => `host ${f.hostId} does not take the agent: ${f.reason}`,
  ),
  REPLAY_DIVERGED: code(
    { agentId: "string", tick: "bigint", reason: "string" },
    (f) =>
      `agent ${f.agentId} did otherwise when its ticks were run again, at tick ${f.tick} (${f.reason}): what it does has to follow from its state and what its host answers`,
  ),
  REPLAY_MISSING: code(
    { agentId: "string", reason: "string" },
    (f) =>
      `agent ${f.agentId} came without a record of its last ticks that can be replayed (${f.reason}): let its source record them, or take it in with --replay-mode off`,
  ),
  REPLAY_UNFINISHED: code(
    { agentId: "string", reason: "string" },
    (f) => `the last ticks of agent ${f.agentId} could not be replayed (${f.reason}): try again`,
  ),
  EVENT_LOG_INVALID: code(why, (f) => `the event log is not valid: ${f.reason}`),
  FRAME_INVALID: code(why, (f) => `the peer sent a frame that does not fit: ${f.reason}`),

  // Things that are signed.
  CHECKPOINT_INVALID: code(why, (f) => `the checkpoint is not valid: ${f.reason}`),
  LINEAGE_INVALID: code(why, (f) => `the lineage does not verify: ${f.reason}`),
  EVIDENCE_INVALID: code({ flaw: "string", reason: "string" }, (f) => `this proves nothing (${f.flaw}): ${f.reason}`),
  GRANT_INVALID: code(why, (f) => `the grant is not valid: ${f.reason}`),
  TOKEN_INVALID: code(why, (f) => `the relinquish token is not valid: ${f.reason}`),
  SIGNATURE_INVALID: code(
    { what: "string" },
    (f) => `the signature of ${f.what} does not verify: it was changed, or signed by somebody else`,
  ),

  // What is around us.
  NOT_READY: code(why, (f) => `not ready: ${f.reason}`),
  STORE_UNAVAILABLE: code(why, (f) => `the store does not answer (${f.reason}): try again when it does`),
  STORE_ALREADY_INITIALIZED: code(
    { where: "string" },
    (f) => `${f.where} holds a registry already: nothing was changed`,
  ),
  REGISTRY_UNAVAILABLE: code(why, (f) => `the registry does not answer (${f.reason}): try again when it does`),
  PEER_UNREACHABLE: code(
    { hostId: "string", reason: "string" },
    (f) => `host ${f.hostId} cannot be reached: ${f.reason}`,
  ),
  RPC_FAILED: code(
    { status: "string", message: "string", target: "string" },
    (f) => `the call to ${f.target} failed with ${f.status}: ${f.message}`,
  ),
  SERVICE_UNKNOWN: code(
    { service: "string" },
    (f) => `this server has no service ${f.service}: list its services by reflection`,
  ),
  LISTEN_FAILED: code(
    { address: "string", reason: "string" },
    (f) => `cannot listen on ${f.address} (${f.reason}): choose another address or port`,
  ),
  RETRY_BUDGET_EXHAUSTED: code(
    { target: "string" },
    (f) => `too many calls to ${f.target} failed lately, so it is not tried again for now`,
  ),
  DEADLINE_EXCEEDED: code(
    { what: "string", afterMs: "number" },
    (f) => `${f.what} did not come within ${f.afterMs} ms`,
  ),
  CANCELLED: code({ what: "string" }, (f) => `${f.what} was cancelled`),
  RESOURCE_LIMIT: code({ what: "string", limit: "number" }, (f) => `${f.what} is over the limit of ${f.limit}`),
  SHUTTING_DOWN: code(none, () => "the process is stopping: ask again when it is back, or ask another"),

  // The machine that we run on.
  CONFIG_INVALID: code(
    { problems: "strings" },
    (f) => `the configuration is not valid:\n${f.problems.map((problem) => `  ${problem}`).join("\n")}`,
  ),
  DATA_DIRECTORY_LOCKED: code(
    { path: "string", by: "string" },
    (f) => `${f.path} is in use by ${f.by}: stop that, or give another directory`,
  ),
  DATA_CORRUPT: code(
    { path: "string", reason: "string" },
    (f) => `${f.path} is damaged (${f.reason}): it was left as it is`,
  ),
  DISK_FAILED: code({ path: "string", reason: "string" }, (f) => `${f.path} could not be read or written: ${f.reason}`),

  /** A bug, or what an edge shows of one: the cause stays in the log of the process that had it. */
  INTERNAL: code(none, () => "internal error: the log of the process that answered says more"),
} as const satisfies Rows;

export type FaultCode = keyof typeof FAULTS;

/** The detail of one code: `{ code, ...data }`. */
export type FaultDetailOf<C extends FaultCode> = {
  [K in C]: { readonly code: K } & DataOf<(typeof FAULTS)[K]["fields"]>;
}[C];

export type FaultDetail = FaultDetailOf<FaultCode>;

export const FAULT_CODES = Object.keys(FAULTS) as readonly FaultCode[];
