// The tables of host.db. A change of them is a new FORMAT with a step that leads to it; an older host refuses the newer one.

/** "GWHD": tells a host's database from any other file of SQLite. */
export const APPLICATION_ID = 0x47574844;
export const FORMAT = 2;

/** Measured against 4 and 16 KiB; see docs/decisions/0003-host-storage.md. */
export const PAGE_BYTES = 8192;

/** Checkpoints that a forced choice gave up; the same cells as in `headers`, and as many of one place as there were. */
const SET_ASIDE = `
  CREATE TABLE set_aside (
    agent_id TEXT NOT NULL,
    era INTEGER NOT NULL,
    major INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    digest TEXT NOT NULL,
    base_digest TEXT,
    state_digest TEXT NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL,
    seal BLOB NOT NULL,
    on_spine INTEGER NOT NULL,
    receipts BLOB,
    receipts_seal BLOB,
    has_state INTEGER NOT NULL,
    PRIMARY KEY (agent_id, digest)
  ) STRICT, WITHOUT ROWID;
`;

/** Leads from each older format to the next. */
export const STEPS: Readonly<Record<number, string>> = { 1: SET_ASIDE };

// Rows that change are `sealed` by a checksum over their cells. States and blobs have none: their digest is their name.
// `headers` and `states` have a rowid, so that the commits of many agents land side by side on the same few pages.
export const SCHEMA = `
  CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, seal BLOB NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE sessions (boot_id TEXT NOT NULL PRIMARY KEY, recorded_at TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE blobs (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;

  CREATE TABLE agents (
    agent_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    module_digest TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    journal TEXT NOT NULL,
    relinquished_era INTEGER,
    relinquished_major INTEGER,
    seal BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE headers (
    id INTEGER PRIMARY KEY,
    agent_id TEXT NOT NULL,
    era INTEGER NOT NULL,
    major INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    digest TEXT NOT NULL,
    base_digest TEXT,
    state_digest TEXT NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL,
    seal BLOB NOT NULL,
    on_spine INTEGER NOT NULL CHECK (on_spine IN (0, 1)),
    receipts BLOB,
    receipts_seal BLOB,
    has_state INTEGER NOT NULL CHECK (has_state IN (0, 1)),
    UNIQUE (agent_id, era, major, tick)
  ) STRICT;
  CREATE INDEX headers_with_state ON headers (agent_id, era, major, tick) WHERE has_state = 1;
  CREATE INDEX headers_to_prune ON headers (agent_id, era, major, tick) WHERE has_state = 0 AND on_spine = 0;

  CREATE TABLE states (
    id INTEGER PRIMARY KEY,
    agent_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (agent_id, digest)
  ) STRICT;

  CREATE TABLE staging (
    handoff_id TEXT NOT NULL PRIMARY KEY,
    agent_id TEXT NOT NULL,
    name TEXT NOT NULL,
    module_digest TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    source_host_id TEXT NOT NULL,
    token BLOB NOT NULL,
    header BLOB NOT NULL,
    digest TEXT NOT NULL,
    state_digest TEXT NOT NULL,
    spine BLOB NOT NULL,
    receipts BLOB NOT NULL,
    seal BLOB NOT NULL
  ) STRICT;
  CREATE INDEX staging_by_agent ON staging (agent_id, state_digest);
${SET_ASIDE}`;

/** Whose content nothing but SQLite vouches for. The others hold bulk and are checked by digest when they are read. */
export const SMALL_TABLES = ["meta", "sessions", "agents", "staging"] as const;
