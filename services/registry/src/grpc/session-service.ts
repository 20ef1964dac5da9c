import { type ServedService, serve } from "@godwit/grpc";
import { toProtoSigned } from "@godwit/lineage";
import { SessionService } from "@godwit/proto/godwit/registry/v1/session";
import type { Sessions } from "../sessions/sessions.ts";
import { bootIdForm, isBootId } from "../sessions/sessions.ts";
import { invalid, readCaller, readIncarnation, readSigned } from "./checks.ts";

export function sessionService(sessions: Sessions): ServedService {
  return serve(SessionService, {
    async describeRegistry() {
      const { publicKey, mark, rules } = await sessions.describe();
      return { publicKey, mark: toProtoSigned(mark.signed), rules };
    },

    async openSession({ opening }) {
      const { secret, generation, rules, mark } = await sessions.open(readSigned(opening, "opening"));
      return { secret, generation, rules, mark: toProtoSigned(mark.signed) };
    },

    async renewSession({ caller, incarnation, generation, markSeen }) {
      const renewed = await sessions.renew({
        caller: readCaller(caller),
        incarnation: readIncarnation(incarnation),
        generation,
        markSeen: markSeen && readSigned(markSeen, "mark_seen"),
      });
      return { generation: renewed.generation, rules: renewed.rules, mark: toProtoSigned(renewed.mark.signed) };
    },

    async closeSession({ caller, incarnation, earlierBootId }) {
      if (earlierBootId !== "" && !isBootId(earlierBootId)) throw invalid("earlier_boot_id", bootIdForm);
      await sessions.close({
        caller: readCaller(caller),
        incarnation: readIncarnation(incarnation),
        earlierBootId: earlierBootId === "" ? undefined : earlierBootId,
      });
      return {};
    },
  });
}
