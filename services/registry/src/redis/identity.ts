// Which data a Redis server has: its run id, which a restart changes, and its replication id, which a promotion, or the
// attaching of its first replica, changes (GA-6).

export interface ServerInfo {
  /** For the mark: `redis:<run id>:<replication id>`. */
  readonly identity: string;
  readonly role: string;
}

/** Of the text of INFO. Throws an Error that says what to do when it does not tell. */
export function readServerInfo(info: string): ServerInfo {
  const field = (name: string) => new RegExp(`^${name}:([^\\r\\n]+)`, "m").exec(info)?.[1];
  const runId = field("run_id");
  const replicationId = field("master_replid");
  const role = field("role");
  if (runId === undefined || replicationId === undefined || role === undefined) {
    throw new Error("INFO does not tell its run id and replication id: allow the user the commands of @dangerous INFO");
  }
  return { identity: `redis:${runId}:${replicationId}`, role };
}
