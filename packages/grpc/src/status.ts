// A Fault as a gRPC status and back. The status is many-to-one, so code and data also travel, as a google.rpc.Status
// with an ErrorInfo of the domain "godwit". Anything that is no Fault is a bug: a bare INTERNAL, its text kept here.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  decodeFault,
  encodeFault,
  Fault,
  type FaultCode,
  type FaultDetail,
  faultMessage,
  isFault,
} from "@godwit/common/fault";
import { ErrorInfoSchema } from "@godwit/proto/google/rpc/error_details";
import { StatusSchema } from "@godwit/proto/google/rpc/status";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

/** A new code does not compile until it has a row here. */
export const STATUS_OF = {
  // Decide anew: read what is there now.
  STALE_INCARNATION: status.FAILED_PRECONDITION,
  STALE_REVISION: status.FAILED_PRECONDITION,
  STALE_CHECKPOINT: status.FAILED_PRECONDITION,
  OWNER_ALIVE: status.ABORTED,
  HANDOFF_IN_PROGRESS: status.ABORTED,
  HANDOFF_SUPERSEDED: status.ABORTED,
  MIGRATION_IN_PROGRESS: status.ABORTED,
  MIGRATION_FAILED: status.ABORTED,

  // Not as things stand.
  SESSION_UNKNOWN: status.FAILED_PRECONDITION,
  SESSION_VOID: status.FAILED_PRECONDITION,
  TERMINATED: status.FAILED_PRECONDITION,
  DIVERGENT_LINEAGE: status.FAILED_PRECONDITION,
  RECOVERY_REQUIRED: status.FAILED_PRECONDITION,
  BASE_UNCONFIRMED: status.FAILED_PRECONDITION,
  AGENT_NOT_HERE: status.FAILED_PRECONDITION,
  AGENT_NOT_RUNNING: status.FAILED_PRECONDITION,
  LEASE_EXPIRED: status.FAILED_PRECONDITION,
  MIGRATION_DISABLED: status.FAILED_PRECONDITION,
  POLICY_REFUSED: status.FAILED_PRECONDITION,
  CAPABILITY_MISSING: status.FAILED_PRECONDITION,
  PRICE_TOO_HIGH: status.FAILED_PRECONDITION,
  REPLAY_DIVERGED: status.FAILED_PRECONDITION,
  REPLAY_MISSING: status.FAILED_PRECONDITION,
  REPLAY_UNFINISHED: status.UNAVAILABLE,
  TICK_FAILED: status.FAILED_PRECONDITION,
  STORE_ALREADY_INITIALIZED: status.FAILED_PRECONDITION,
  DATA_DIRECTORY_LOCKED: status.FAILED_PRECONDITION,

  NO_RECORD: status.NOT_FOUND,
  AGENT_UNKNOWN: status.NOT_FOUND,
  HOST_UNKNOWN: status.NOT_FOUND,
  SERVICE_UNKNOWN: status.NOT_FOUND,
  EXISTS: status.ALREADY_EXISTS,
  QUARANTINE_OVER: status.FAILED_PRECONDITION,
  FORCE_REFUSED: status.FAILED_PRECONDITION,
  SESSION_EXISTS: status.ALREADY_EXISTS,
  AGENT_EXISTS: status.ALREADY_EXISTS,

  // Who are you?
  BAD_SECRET: status.UNAUTHENTICATED,
  SIGNATURE_INVALID: status.UNAUTHENTICATED,
  NOT_OWNER: status.PERMISSION_DENIED,
  BAD_TOKEN: status.PERMISSION_DENIED,

  // Never send it again as it is.
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  AMBIGUOUS_ID: status.INVALID_ARGUMENT,
  BAD_GENESIS: status.INVALID_ARGUMENT,
  MODULE_INVALID: status.INVALID_ARGUMENT,
  MANIFEST_INVALID: status.INVALID_ARGUMENT,
  STATE_INVALID: status.INVALID_ARGUMENT,
  BUDGET_INVALID: status.INVALID_ARGUMENT,
  CHECKPOINT_INVALID: status.INVALID_ARGUMENT,
  LINEAGE_INVALID: status.INVALID_ARGUMENT,
  EVIDENCE_INVALID: status.INVALID_ARGUMENT,
  GRANT_INVALID: status.INVALID_ARGUMENT,
  TOKEN_INVALID: status.INVALID_ARGUMENT,
  EVENT_LOG_INVALID: status.INVALID_ARGUMENT,
  FRAME_INVALID: status.INVALID_ARGUMENT,
  CONFIG_INVALID: status.INVALID_ARGUMENT,

  MEMORY_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  BUDGET_EXHAUSTED: status.RESOURCE_EXHAUSTED,
  RETRY_BUDGET_EXHAUSTED: status.RESOURCE_EXHAUSTED,
  RESOURCE_LIMIT: status.RESOURCE_EXHAUSTED,
  NO_CANDIDATE: status.RESOURCE_EXHAUSTED,

  // Later, or elsewhere.
  QUARANTINE: status.UNAVAILABLE,
  SESSION_NOT_OPEN: status.UNAVAILABLE,
  HOST_DRAINING: status.UNAVAILABLE,
  TARGET_BUSY: status.UNAVAILABLE,
  NOT_READY: status.UNAVAILABLE,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  REGISTRY_UNAVAILABLE: status.UNAVAILABLE,
  PEER_UNREACHABLE: status.UNAVAILABLE,
  RPC_FAILED: status.UNAVAILABLE,
  SHUTTING_DOWN: status.UNAVAILABLE,
  LISTEN_FAILED: status.UNAVAILABLE,
  FUNDING_UNKNOWN: status.UNAVAILABLE,
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  CANCELLED: status.CANCELLED,

  DATA_CORRUPT: status.DATA_LOSS,
  DISK_FAILED: status.INTERNAL,
  INTERNAL: status.INTERNAL,
} as const satisfies Record<FaultCode, status>;

const DOMAIN = "godwit";
const DETAILS_KEY = "grpc-status-details-bin";

// Headers are limited, and part of a fault's data may come from a peer.
const MOST_CHARACTERS = 512;
const MOST_ENTRIES = 20;

/** What grpc-js sends for an error. */
export interface WireStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

export function wireStatusOf(error: unknown): WireStatus {
  const metadata = new Metadata();
  if (!isFault(error) || error.detail.code === "INTERNAL") {
    return { code: status.INTERNAL, details: "internal error", metadata };
  }
  const detail = clipped(error.detail);
  const code = STATUS_OF[detail.code];
  const message = clip(faultMessage(detail));
  const info = create(ErrorInfoSchema, { reason: detail.code, domain: DOMAIN, metadata: encodeFault(detail) });
  const wire = create(StatusSchema, { code, message, details: [anyPack(ErrorInfoSchema, info)] });
  metadata.set(DETAILS_KEY, Buffer.from(toBinary(StatusSchema, wire)));
  return { code, details: message, metadata };
}

export interface FailedCall {
  /** The path of the method. */
  readonly method: string;
  readonly target: string;
  readonly timeoutMs: number;
}

/** The Fault that the server sent; for a status without one, what can be said about the call itself. */
export function faultOf(error: ServiceError, { method, target, timeoutMs }: FailedCall): Fault {
  const sent = sentDetail(error);
  const options = { cause: error };
  if (sent !== undefined) return new Fault(sent, options);
  const what = `the answer of ${target} to ${method}`;
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return new Fault({ code: "DEADLINE_EXCEEDED", what, afterMs: timeoutMs }, options);
    case status.CANCELLED:
      return new Fault({ code: "CANCELLED", what }, options);
    default:
      return new Fault(
        { code: "RPC_FAILED", status: status[error.code] ?? "UNKNOWN", message: clip(error.details), target },
        options,
      );
  }
}

function sentDetail({ metadata }: ServiceError): FaultDetail | undefined {
  const bytes = metadata?.get(DETAILS_KEY)[0];
  if (!(bytes instanceof Uint8Array)) return undefined;
  try {
    for (const packed of fromBinary(StatusSchema, new Uint8Array(bytes)).details) {
      const info = anyUnpack(packed, ErrorInfoSchema);
      if (info?.domain === DOMAIN) return decodeFault(info.reason, info.metadata);
    }
  } catch {
    // Somebody else's trailer of that name: the status alone has to do.
  }
  return undefined;
}

function clipped(detail: FaultDetail): FaultDetail {
  const data = Object.entries(detail).map(([name, value]: [string, unknown]) => {
    if (typeof value === "string") return [name, clip(value)];
    return [name, Array.isArray(value) ? value.slice(0, MOST_ENTRIES).map((entry) => clip(String(entry), 64)) : value];
  });
  return Object.fromEntries(data);
}

function clip(text: string, most = MOST_CHARACTERS): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
