// What hosts hold and do not run (protocol §4, holders).
//
// GA-6  It is served in quarantine too, so that everybody who may recover an agent afterwards knows who has what.
//
// An announcement decides who is offered an agent, and a newer one keeps an older checkpoint from being resumed. So every
// checkpoint is verified before it counts; that takes a moment each, and other calls get their turn in between.

import { Fault, isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { readHeader, verifyHeader } from "@godwit/lineage";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import { authenticate, type Caller } from "../sessions/caller.ts";
import type { Announcement, AuthorityStore, SessionStore } from "../store/registry-store.ts";
import { nextTurn } from "./evidence.ts";

export interface AnnouncementsParts {
  readonly store: AuthorityStore & SessionStore;
  readonly keeper: MarkKeeper;
}

export interface AnnounceRequest {
  readonly caller: Caller;
  readonly incarnation: string;
  readonly held: readonly SignedBytes[];
  readonly withdrawn: readonly string[];
  /** The newest mark that the host has seen. */
  readonly markSeen?: SignedBytes | undefined;
}

const VERIFIED_IN_A_ROW = 16;

export class Announcements {
  readonly #parts: AnnouncementsParts;

  constructor(parts: AnnouncementsParts) {
    this.#parts = parts;
  }

  /**
   * The checkpoints that were not taken, with the reason: by agent id, or by their place in the request ("#3") when they
   * name no agent. Throws the faults of `authenticate`.
   */
  async announce(request: AnnounceRequest): Promise<Readonly<Record<string, string>>> {
    const { keeper, store } = this.#parts;
    const { caller, held, withdrawn } = request;
    await keeper.show(request.markSeen);
    return await keeper.underAny(async ({ mark, signer }) => {
      await authenticate(store, mark, request);
      const refused: Record<string, string> = {};
      const taken: Announcement["held"][number][] = [];
      for (const [index, signed] of held.entries()) {
        if (index > 0 && index % VERIFIED_IN_A_ROW === 0) await nextTurn();
        try {
          const { header, ref } = verifyHeader(signed, signer.publicKey);
          taken.push({ agentId: header.agentId, checkpoint: ref });
        } catch (error) {
          if (!isFault(error)) throw error;
          refused[nameOf(signed, index)] = error.message;
        }
      }
      if (taken.length === 0 && withdrawn.length === 0) return refused;
      const outcome = await store.announce(mark.bytes, caller.session, { held: taken, withdrawn });
      if (outcome === "caller-void") throw new Fault({ code: "SESSION_VOID", hostId: caller.session.hostId });
      return refused;
    });
  }
}

/** For the refusal of a checkpoint that does not verify: the agent that it claims to be of. */
function nameOf(signed: SignedBytes, index: number): string {
  try {
    return readHeader(signed.payload).agentId;
  } catch {
    return `#${index}`;
  }
}
