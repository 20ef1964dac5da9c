// What becomes of `throw`, of a failed `assert` and of an index out of range: a line in the agent's log, then a trap. The tick has not
// happened then; the host tries it again, from the state before it.
//
// In asconfig.json: "use": ["abort=~lib/@godwit/agent-sdk/assembly/abort/abort"].

import { log } from "./host";

export function abort(message: string | null, fileName: string | null, line: u32, column: u32): void {
  const what = message == null ? "it failed" : message;
  const where = fileName == null ? "" : " (" + fileName + ":" + line.toString() + ":" + column.toString() + ")";
  log(what + where);
  unreachable();
}
