-- Ids are 16-byte blobs, times are milliseconds since 1970 UTC, payloads are blobs.
-- Rowid tables throughout: rows are appended in the order of time, whatever their ids.

CREATE TABLE event_types (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- The events, in the order of commits. `sequence` is given by the store and never used twice.
CREATE TABLE log (
  sequence     INTEGER PRIMARY KEY,
  type         INTEGER NOT NULL,  -- event_types.id
  committed_at INTEGER NOT NULL,
  event        BLOB NOT NULL,     -- the bytes as received or first written
  -- What the event is known by, where its bytes do not say so: it came with a transport's message id or without time.
  event_id     BLOB,
  event_time   INTEGER
);

-- One row: the furthest sequence that was trimmed, so that a log trimmed empty counts on from there.
CREATE TABLE log_trimmed (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  through INTEGER NOT NULL
);

-- How far each consumer of the embedded bus has come.
CREATE TABLE positions (
  consumer TEXT NOT NULL PRIMARY KEY,
  position INTEGER NOT NULL
);

CREATE TABLE runs (
  run                INTEGER PRIMARY KEY,
  id                 BLOB NOT NULL,
  tenant             BLOB NOT NULL,
  opportunity        BLOB NOT NULL,
  status             INTEGER NOT NULL,  -- 0 running, 1 completed, 2 failed, 3 cancelled
  exclusive          INTEGER NOT NULL,  -- 1: takes the opportunity's place among the active runs
  wake_up_at         INTEGER,           -- of an active run: never null (invariant 8)
  version            INTEGER NOT NULL,  -- counts updates
  attempt            INTEGER NOT NULL,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL,
  deadline           INTEGER NOT NULL,
  external_id        TEXT NOT NULL,
  definition_name    TEXT NOT NULL,
  definition_version TEXT NOT NULL,
  correlation_id     TEXT NOT NULL,
  trigger_type       TEXT NOT NULL,
  trigger_id         BLOB NOT NULL,
  error              TEXT NOT NULL,
  failed_step        TEXT NOT NULL,
  steps              TEXT NOT NULL      -- workflow::encode_steps
);
CREATE UNIQUE INDEX runs_by_id ON runs (id);
CREATE UNIQUE INDEX runs_active ON runs (tenant, opportunity) WHERE status = 0 AND exclusive = 1;
CREATE INDEX runs_by_wake_up ON runs (wake_up_at) WHERE status = 0;
CREATE INDEX runs_by_opportunity ON runs (tenant, opportunity, id);
CREATE INDEX runs_by_tenant ON runs (tenant, id);
-- Completed runs are the many, so a list of those goes along runs_by_tenant; the few need an index to be found.
CREATE INDEX runs_by_status ON runs (tenant, status, id) WHERE status <> 1;
CREATE INDEX runs_ended ON runs (updated_at) WHERE status <> 0;

-- What a completed step brought; written once.
CREATE TABLE results (
  key    INTEGER PRIMARY KEY,  -- runs.run * 64 + the step's place in the definition
  result BLOB NOT NULL
);

CREATE TABLE triggers (
  trigger         INTEGER PRIMARY KEY,
  tenant          BLOB NOT NULL,
  id              BLOB NOT NULL,
  outcome         INTEGER NOT NULL,  -- 0 started, 1 absorbed, 2 refused
  workflow        BLOB,
  follow_up       BLOB,
  received_at     INTEGER NOT NULL,
  opportunity     BLOB NOT NULL,
  type            TEXT NOT NULL,
  external_id     TEXT NOT NULL,
  definition_name TEXT NOT NULL,
  correlation_id  TEXT NOT NULL,
  reason          TEXT NOT NULL
);
CREATE UNIQUE INDEX triggers_by_id ON triggers (tenant, id);
CREATE INDEX triggers_absorbed ON triggers (workflow) WHERE outcome = 1 AND follow_up IS NULL;
CREATE INDEX triggers_settled ON triggers (received_at) WHERE outcome <> 1 OR follow_up IS NOT NULL;

CREATE TABLE inbox (
  entry       INTEGER PRIMARY KEY,
  consumer    TEXT NOT NULL,
  tenant      BLOB NOT NULL,
  event       BLOB NOT NULL,
  digest      INTEGER NOT NULL,
  received_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX inbox_by_event ON inbox (event, tenant, consumer);

CREATE TABLE dead_letters (
  letter      INTEGER PRIMARY KEY,
  id          BLOB NOT NULL UNIQUE,
  tenant      BLOB NOT NULL,
  queue       TEXT NOT NULL,
  type        TEXT NOT NULL,
  headers     TEXT NOT NULL,
  bytes       BLOB NOT NULL,
  reason      TEXT NOT NULL,
  attempts    INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  status      INTEGER NOT NULL,  -- 0 waiting, 1 replayed, 2 discarded
  replayed_as BLOB,
  note        TEXT NOT NULL
);
CREATE INDEX dead_letters_by_status ON dead_letters (status, id);
CREATE INDEX dead_letters_by_tenant ON dead_letters (tenant, id);
CREATE INDEX dead_letters_by_tenant_and_status ON dead_letters (tenant, status, id);
CREATE INDEX dead_letters_settled ON dead_letters (created_at) WHERE status <> 0;

CREATE TABLE opportunities (
  row         INTEGER PRIMARY KEY,
  tenant      BLOB NOT NULL,
  id          BLOB NOT NULL,
  state       INTEGER NOT NULL,  -- 0 open, 1 won, 2 lost
  fields      TEXT NOT NULL      -- store::encode_opportunity
);
CREATE UNIQUE INDEX opportunities_by_id ON opportunities (tenant, id);
CREATE INDEX opportunities_closed ON opportunities (tenant, id) WHERE state <> 0;

-- A tenant's named documents: its statistics, its model.
CREATE TABLE documents (
  tenant BLOB NOT NULL,
  name   TEXT NOT NULL,
  json   TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
);

-- Every version of every workflow definition that was ever used.
CREATE TABLE definitions (
  definition INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  version    TEXT NOT NULL,
  text       TEXT NOT NULL,
  UNIQUE (name, version)
);
