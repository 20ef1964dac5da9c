// What an onlooker knows of the whole run and checks at each grant and commit. Its memory is part of the state, so that two
// runs that differ in what was given away are two states.
//
// EI-3   Under one term every checkpoint follows the one before; the first follows the term's base.
// EI-10  A claimed major starts from the newest checkpoint of the one before.
// I1     No (era, major) is given to two sessions.

import { compareTerms } from "@godwit/common/lease";
import { type Ghost, type GhostEvent, shortRef, shortTerm, type TermSeen } from "./world.ts";

export type Seen = { readonly ghost: Ghost } | { readonly violation: string };

export function see(ghost: Ghost, event: GhostEvent): Seen {
  const { terms } = ghost;
  switch (event.kind) {
    case "marked":
      return { ghost: { terms, mark: event.mark } };
    case "granted": {
      const { era, major, session, base, by } = event;
      const known = terms.find((seen) => compareTerms(seen, event) === 0);
      if (known !== undefined) {
        if (known.session === session && known.base.digest === base.digest) return { ghost };
        return { violation: `term ${shortTerm(event)} was given to ${known.session} and again to ${session}` };
      }
      if (by === "claim") {
        const before = terms.find((seen) => compareTerms(seen, { era, major: major - 1n }) === 0);
        const frozen = before?.last ?? before?.base;
        if (frozen?.digest !== base.digest) {
          const was = frozen === undefined ? "nothing" : shortRef(frozen);
          return { violation: `EI-10: ${shortTerm(event)} starts from ${shortRef(base)}, the source froze at ${was}` };
        }
      }
      const added: TermSeen = { era, major, session, base, last: undefined };
      return { ghost: { ...ghost, terms: [...terms, added].sort(compareTerms) } };
    }
    case "committed": {
      const { checkpoint, previous } = event;
      const known = terms.find((seen) => compareTerms(seen, checkpoint) === 0);
      if (known === undefined)
        return { violation: `${shortRef(checkpoint)} was committed under a term that nobody gave` };
      const follows = known.last ?? known.base;
      if (follows.digest !== previous.digest) {
        return {
          violation: `EI-3: ${shortRef(checkpoint)} follows ${shortRef(previous)}, its term went on to ${shortRef(follows)}`,
        };
      }
      return {
        ghost: { ...ghost, terms: terms.map((seen) => (seen === known ? { ...seen, last: checkpoint } : seen)) },
      };
    }
  }
}
