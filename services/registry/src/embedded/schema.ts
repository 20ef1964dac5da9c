// Tables of the embedded store. `user_version` is the number of the newest schema that a file has been brought to.

export const SCHEMA_VERSION = 3;

/** What brings a file from one version to the next, the first one from none. */
export const UPGRADES: readonly string[] = [
  `
CREATE TABLE mark (only INTEGER PRIMARY KEY CHECK (only = 1), bytes BLOB NOT NULL) STRICT;

-- Closed sessions stay: void is for ever (SL-2).
CREATE TABLE sessions (
  host TEXT NOT NULL, boot TEXT NOT NULL, incarnation TEXT NOT NULL, generation INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL, grace_ms INTEGER NOT NULL, renew_every_ms INTEGER NOT NULL,
  secret_digest BLOB NOT NULL, closed INTEGER NOT NULL,
  PRIMARY KEY (host, boot)
) STRICT, WITHOUT ROWID;
CREATE INDEX open_sessions ON sessions (host, boot) WHERE closed = 0;

-- offer: 0 not to be offered, 1 when the owner's session is closed, 2 now.
CREATE TABLE agents (
  agent TEXT PRIMARY KEY, record BLOB NOT NULL, owner_host TEXT, owner_boot TEXT, offer INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_by_owner ON agents (owner_host, agent);
CREATE INDEX agents_to_offer ON agents (agent) WHERE offer = 2;
CREATE INDEX agents_by_session ON agents (owner_host, owner_boot, agent);

CREATE TABLE history (
  agent TEXT NOT NULL, revision INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (agent, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE holders (
  agent TEXT NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL, checkpoint TEXT NOT NULL,
  PRIMARY KEY (agent, host, boot)
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
  host TEXT PRIMARY KEY, info BLOB NOT NULL, draining INTEGER NOT NULL, failures INTEGER NOT NULL,
  failed_at_ms INTEGER NOT NULL, seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
  `
-- The nonce of the newest clean close (clean-close.ts).
CREATE TABLE closings (only INTEGER PRIMARY KEY CHECK (only = 1), nonce TEXT NOT NULL) STRICT;

-- Open is what the mark's incarnation knows and is not closed.
DROP INDEX open_sessions;
CREATE INDEX open_sessions ON sessions (incarnation, host, boot) WHERE closed = 0;
`,
  `
-- The version of the directory at which a host changed last; those that are there get one each.
ALTER TABLE hosts ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
UPDATE hosts SET version = (SELECT count(*) FROM hosts h WHERE h.host <= hosts.host);
CREATE UNIQUE INDEX hosts_by_version ON hosts (version);
`,
];
