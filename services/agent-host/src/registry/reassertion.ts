// What a host brings back after a loss of the store, on the wire (GA-7): items, and the one signature for a batch of them.

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Base, SignedBytes } from "@godwit/common/lease";
import { digestOf, digestToBytes, type Signer, seal, toProtoRef, toProtoSession, toProtoSigned } from "@godwit/lineage";
import {
  type BaseSchema,
  type ReassertItemSchema,
  ReassertItemsSchema,
  ReassertionSchema,
} from "@godwit/proto/godwit/registry/v1/authority";
import type { ReassertionClaim, ShownItem } from "./ports.ts";

export function encodeItems(items: readonly ShownItem[]): Uint8Array {
  return toBinary(ReassertItemsSchema, create(ReassertItemsSchema, { items: items.map(toWire) }));
}

/** The signature covers the digest of the items as they are sent. */
export function signReassertion(claim: ReassertionClaim, signer: Signer): SignedBytes {
  const { session, incarnation, from, generation, markSeen, items } = claim;
  const message = create(ReassertionSchema, {
    session: toProtoSession(session),
    incarnation,
    fromIncarnation: from,
    generation,
    itemsDigest: digestToBytes(digestOf(items)),
  });
  if (markSeen !== undefined) message.markSeen = toProtoSigned(markSeen);
  return seal("reassertion", toBinary(ReassertionSchema, message), signer);
}

function toWire(item: ShownItem): MessageInitShape<typeof ReassertItemSchema> {
  const { agentId } = item;
  switch (item.kind) {
    case "grant": {
      const { bases, unconfirmed, forced, afterLoss, revision } = item.record;
      return {
        agentId,
        genesis: item.genesis,
        what: {
          case: "grant",
          value: {
            grant: toProtoSigned(item.grant),
            head: toProtoRef(item.head),
            bases: bases.map(toWireBase),
            revision,
            ...(unconfirmed && { unconfirmed: toProtoRef(unconfirmed) }),
            ...(forced && { forced: { era: forced.era, major: forced.major } }),
            ...(afterLoss && {
              afterLoss: {
                era: afterLoss.era,
                spine: afterLoss.spine.map(toWireBase),
                ...(afterLoss.above && { above: { era: afterLoss.above.era, major: afterLoss.above.major } }),
              },
            }),
          },
        },
      };
    }
    case "conflict": {
      const { term, conflict } = item;
      const { era, major, tick, known, offered } = conflict;
      return {
        agentId,
        what: {
          case: "conflict",
          value: {
            term: { era: term.era, major: term.major },
            conflict: { era, major, tick, knownDigest: digestToBytes(known), offeredDigest: digestToBytes(offered) },
          },
        },
      };
    }
    case "termination":
      return { agentId, what: { case: "termination", value: toProtoSigned(item.termination) } };
  }
}

function toWireBase({ era, major, startedFrom }: Base): MessageInitShape<typeof BaseSchema> {
  return { era, major, startedFrom: toProtoRef(startedFrom) };
}
