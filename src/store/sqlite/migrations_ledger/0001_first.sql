-- The audit log: a database of its own. Ids are 16-byte blobs, times are milliseconds since 1970 UTC.

CREATE TABLE tenants (
  tenant INTEGER PRIMARY KEY,
  id     BLOB NOT NULL UNIQUE
);

CREATE TABLE event_types (
  type INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- The entries, each tenant's side by side in the order of their index. An index of SQLite ends with the rowid, so each
-- one below also gives a tenant's entries in order.
CREATE TABLE entries (
  entry       INTEGER PRIMARY KEY,  -- tenants.tenant << 40 | index in the tenant's ledger: 0, 1, 2, …
  tenant      INTEGER NOT NULL,
  event_id    BLOB NOT NULL,
  type        INTEGER NOT NULL,
  timestamp   INTEGER NOT NULL,     -- the event's own
  received_at INTEGER NOT NULL,
  workflow    BLOB,
  opportunity BLOB,
  bytes       BLOB NOT NULL         -- as received
);
CREATE UNIQUE INDEX entries_by_event ON entries (event_id, tenant);
CREATE INDEX entries_by_workflow ON entries (workflow) WHERE workflow IS NOT NULL;
CREATE INDEX entries_by_opportunity ON entries (opportunity) WHERE opportunity IS NOT NULL;

-- What may be found among 1024 consecutive entries, so that a search by time or type passes over most of them. An
-- index on time would not do: its order is not that of the entries, and a page of them must not need sorting.
CREATE TABLE blocks (
  block INTEGER PRIMARY KEY,  -- entries.entry >> 10
  first INTEGER NOT NULL,     -- the earliest timestamp
  last  INTEGER NOT NULL,     -- the latest
  types INTEGER NOT NULL      -- bit (type mod 64) is set for each type
);

CREATE TABLE quarantine (
  message     INTEGER PRIMARY KEY,
  tenant      BLOB,
  event_id    BLOB,
  reason      TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  bytes       BLOB NOT NULL  -- as received
);
CREATE INDEX quarantine_by_tenant ON quarantine (tenant) WHERE tenant IS NOT NULL;

-- How far each consumer has come.
CREATE TABLE positions (
  consumer TEXT NOT NULL PRIMARY KEY,
  position INTEGER NOT NULL
);
