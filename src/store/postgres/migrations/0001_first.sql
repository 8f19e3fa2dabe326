-- Runs inside the schema of the installation. Ids are uuids, times are milliseconds since 1970 UTC, payloads are bytes.
-- What is compared or ordered as text is so by its bytes (COLLATE "C"), as every store does it.

-- One row: the newest sequence that was given. It is updated in the last round trip of each transaction that appends,
-- so sequences have no gaps and are in the order of commits.
CREATE TABLE log_counter (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  last bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO log_counter (last) VALUES (0);

-- The events, in the order of commits.
CREATE TABLE log (
  sequence     bigint PRIMARY KEY,
  committed_at bigint NOT NULL,
  -- What the event is known by, where its bytes do not say so: it came with a transport's message id or without time.
  event_id     uuid,
  event_time   bigint,
  type         text NOT NULL,
  event        bytea NOT NULL  -- the bytes as received or first written
);
-- Rows live for an hour or so and events are short: compressing them costs more than it saves.
ALTER TABLE log ALTER COLUMN event SET STORAGE EXTERNAL;

-- One row: the furthest sequence that was trimmed.
CREATE TABLE log_trimmed (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  through bigint NOT NULL
);
INSERT INTO log_trimmed (through) VALUES (0);

-- The entries of the log that await publication. Small, and every row of it is deleted soon.
CREATE TABLE outbox (
  sequence     bigint PRIMARY KEY,          -- log.sequence
  run          uuid,                        -- the event's workflowId
  returns      integer NOT NULL DEFAULT 0,  -- how often the broker had no queue for it
  parked_until bigint                       -- of one that was returned
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
CREATE INDEX outbox_parked ON outbox (run, sequence) WHERE parked_until IS NOT NULL;

-- Work that one process does at a time.
CREATE TABLE leases (
  name       text COLLATE "C" PRIMARY KEY,
  holder     text NOT NULL,    -- '' when it was given back
  epoch      bigint NOT NULL,  -- counts its holders
  expires_at bigint NOT NULL
) WITH (fillfactor = 50);

-- How far each consumer has come that reads the log itself.
CREATE TABLE positions (
  consumer text COLLATE "C" PRIMARY KEY,
  position bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE runs (
  id                 uuid PRIMARY KEY,
  tenant             uuid NOT NULL,
  opportunity        uuid NOT NULL,
  trigger_id         uuid NOT NULL,
  wake_up_at         bigint,            -- of an active run: never null (invariant 8)
  version            bigint NOT NULL,   -- counts updates
  created_at         bigint NOT NULL,
  updated_at         bigint NOT NULL,
  deadline           bigint NOT NULL,
  attempt            integer NOT NULL,
  status             smallint NOT NULL, -- 0 running, 1 completed, 2 failed, 3 cancelled
  exclusive          boolean NOT NULL,  -- takes the opportunity's place among the active runs
  external_id        text NOT NULL,
  definition_name    text COLLATE "C" NOT NULL,
  definition_version text COLLATE "C" NOT NULL,
  correlation_id     text NOT NULL,
  trigger_type       text NOT NULL,
  error              text NOT NULL,
  failed_step        text NOT NULL,
  steps              text NOT NULL      -- workflow::encode_steps
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX runs_active ON runs (tenant, opportunity) WHERE status = 0 AND exclusive;
CREATE INDEX runs_by_wake_up ON runs (wake_up_at) WHERE status = 0;
CREATE INDEX runs_by_opportunity ON runs (tenant, opportunity, id);
CREATE INDEX runs_by_tenant ON runs (tenant, id);
-- Completed runs are the many, so a list of those goes along runs_by_tenant; the few need an index to be found.
CREATE INDEX runs_by_status ON runs (tenant, status, id) WHERE status <> 1;
CREATE INDEX runs_ended ON runs (updated_at) WHERE status <> 0;

-- What a completed step brought; written once.
CREATE TABLE results (
  run    uuid NOT NULL,      -- runs.id
  step   smallint NOT NULL,  -- its place in the definition
  result bytea NOT NULL,
  PRIMARY KEY (run, step)
);

CREATE TABLE triggers (
  tenant          uuid NOT NULL,
  id              uuid NOT NULL,
  opportunity     uuid NOT NULL,
  workflow        uuid,
  follow_up       uuid,
  noted           bigint GENERATED ALWAYS AS IDENTITY,  -- in the order in which they were noted
  received_at     bigint NOT NULL,
  outcome         smallint NOT NULL,                    -- 0 started, 1 absorbed, 2 refused
  type            text NOT NULL,
  external_id     text NOT NULL,
  definition_name text NOT NULL,
  correlation_id  text NOT NULL,
  reason          text NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX triggers_absorbed ON triggers (workflow) WHERE outcome = 1 AND follow_up IS NULL;
CREATE INDEX triggers_settled ON triggers (received_at) WHERE outcome <> 1 OR follow_up IS NOT NULL;

CREATE TABLE inbox (
  tenant      uuid NOT NULL,
  event       uuid NOT NULL,
  digest      bigint NOT NULL,
  received_at bigint NOT NULL,
  consumer    text COLLATE "C" NOT NULL,
  PRIMARY KEY (event, tenant, consumer)
);
CREATE INDEX inbox_by_time ON inbox (received_at);

CREATE TABLE dead_letters (
  id          uuid PRIMARY KEY,
  tenant      uuid NOT NULL,
  replayed_as uuid,
  created_at  bigint NOT NULL,
  attempts    integer NOT NULL,
  status      smallint NOT NULL,  -- 0 waiting, 1 replayed, 2 discarded
  queue       text NOT NULL,
  type        text NOT NULL,
  headers     text NOT NULL,
  reason      text NOT NULL,
  note        text NOT NULL,
  bytes       bytea NOT NULL      -- as received
);
CREATE INDEX dead_letters_by_status ON dead_letters (status, id);
CREATE INDEX dead_letters_by_tenant ON dead_letters (tenant, id);
CREATE INDEX dead_letters_by_tenant_and_status ON dead_letters (tenant, status, id);
CREATE INDEX dead_letters_settled ON dead_letters (created_at) WHERE status <> 0;

CREATE TABLE opportunities (
  tenant uuid NOT NULL,
  id     uuid NOT NULL,
  state  smallint NOT NULL,  -- 0 open, 1 won, 2 lost
  fields text NOT NULL,      -- store::encode_opportunity
  PRIMARY KEY (tenant, id)
);
CREATE INDEX opportunities_closed ON opportunities (tenant, id) WHERE state <> 0;

-- A tenant's named documents: its statistics, its model.
CREATE TABLE documents (
  tenant uuid NOT NULL,
  name   text COLLATE "C" NOT NULL,
  json   text NOT NULL,
  PRIMARY KEY (tenant, name)
);

-- Every version of every workflow definition that was ever used.
CREATE TABLE definitions (
  definition bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text COLLATE "C" NOT NULL,
  version    text COLLATE "C" NOT NULL,
  text       text NOT NULL,
  UNIQUE (name, version)
);
