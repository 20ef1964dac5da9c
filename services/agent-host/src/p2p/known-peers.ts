import { Fault, isFault } from "@godwit/common/fault";
import { ClassifiedFault } from "@godwit/common/retry";

/** Whether the registry's directory has this host. Throws Fault when it does not answer. */
export type IsKnownHost = (hostId: string, signal: AbortSignal) => Promise<boolean>;

/**
 * Only hosts of the directory may hand over agents or leave copies. Throws ClassifiedFault: fatal-target for a stranger,
 * retriable while nobody can be asked.
 */
export async function admitPeer(
  isKnownHost: IsKnownHost,
  peer: { readonly remoteHostId: string; readonly hostId: string },
  signal: AbortSignal,
): Promise<void> {
  let known: boolean;
  try {
    known = await isKnownHost(peer.remoteHostId, signal);
  } catch (cause) {
    signal.throwIfAborted();
    if (!isFault(cause)) throw cause;
    const reason = "the registry was not there to say who the peer is";
    throw new ClassifiedFault("retriable", { code: "NOT_READY", reason }, { cause });
  }
  if (known) return;
  const reason = `the registry does not know host ${peer.remoteHostId}: register it first`;
  throw new ClassifiedFault("fatal-target", { code: "POLICY_REFUSED", hostId: peer.hostId, reason });
}

/** For a refusal to a peer: faults that nobody classified are fatal for this target. */
export function asClassified(cause: unknown): ClassifiedFault {
  if (cause instanceof ClassifiedFault) return cause;
  if (cause instanceof Fault) return new ClassifiedFault("fatal-target", cause.detail, { cause });
  return new ClassifiedFault("retriable", { code: "INTERNAL" }, { cause });
}
