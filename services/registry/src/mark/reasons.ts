// What an operator reads about the mark: what happened, what the registry does by itself, and what there is to do.

import type { StoreLoss } from "@godwit/common/lease";

export interface Place {
  /** Of the store. */
  readonly where: string;
  readonly keyFile: string;
}

export function withoutKey({ where, keyFile }: Place): string {
  return (
    `${where} has a mark, but there is no key in ${keyFile}: give the registry the key that signed the mark (--key), or, to ` +
    "begin anew with all agents lost, an empty store"
  );
}

export function ofAnotherKey({ where, keyFile }: Place): string {
  return (
    `the mark of ${where} is not signed by the key in ${keyFile}: it is the store of another cluster, or this is the wrong ` +
    "key. Give the registry the right key (--key) or the right store; nothing was changed"
  );
}

const LOSSES: Readonly<Record<StoreLoss, string>> = {
  "mark-gone": "it has no mark any more: it was emptied, or is an empty one in the former one's place",
  "other-store":
    "it is not, as it was left, the one that its mark was written for: it was restarted, restored, replaced, or not closed cleanly",
  "not-newest": "its mark is older than one that was seen before: it is an older copy",
  forgot: "a host was answered something that it does not know any more: it lost writes",
};

export function lossText(because: StoreLoss): string {
  return LOSSES[because];
}

export interface QuarantineStory {
  readonly where: string;
  /** Undefined when another registry has noticed the loss. */
  readonly loss: string | undefined;
  readonly quarantineMs: number;
}

export function quarantineText({ where, loss, quarantineMs }: QuarantineStory): string {
  const why = loss ?? "another registry has noticed that";
  return (
    `quarantine, since ${where} may have forgotten writes (${why}). Hosts bring back what they run; when this mark has been ` +
    `watched for ${seconds(quarantineMs)} the quarantine ends by itself, and what nobody brought back is recovered from the ` +
    "newest checkpoints. There is nothing to do but to wait"
  );
}

export function remainingText(remainingMs: number): string {
  return `; about ${seconds(Math.max(0, remainingMs))} to go`;
}

export interface LongLease {
  readonly where: string;
  readonly leaseMs: number;
  readonly quarantineMs: number;
}

export function longLeaseText({ where, leaseMs, quarantineMs }: LongLease): string {
  return (
    `${where} has sessions with leases of ${seconds(leaseMs)} (duration + grace), and the quarantine of this registry is ` +
    `${seconds(quarantineMs)}: after a loss of the store it could let an agent run twice. Give every registry on this store ` +
    `--quarantine ${seconds(leaseMs)} or more, or start the hosts with the long leases again under shorter ones`
  );
}

function seconds(ms: number): string {
  return ms < 10_000 && ms % 1_000 !== 0 ? `${Math.ceil(ms)}ms` : `${Math.ceil(ms / 1_000)}s`;
}
