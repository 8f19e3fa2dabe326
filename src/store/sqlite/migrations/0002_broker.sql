-- What an installation needs whose bus is a broker.

-- Entries of the log that await publication.
CREATE TABLE outbox (
  sequence     INTEGER PRIMARY KEY,         -- log.sequence
  run          BLOB,                        -- the event's workflowId
  returns      INTEGER NOT NULL DEFAULT 0,  -- how often the broker had no queue for it
  parked_until INTEGER                      -- since it was returned last
);
CREATE INDEX outbox_parked ON outbox (run, sequence) WHERE parked_until IS NOT NULL;

-- Work that one process does at a time.
CREATE TABLE leases (
  name       TEXT NOT NULL PRIMARY KEY,
  holder     TEXT NOT NULL,  -- '' when it was given back
  epoch      INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);

-- One row: what this file belongs to.
CREATE TABLE installation (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  bus      TEXT NOT NULL,            -- 'log': consumers read the log by positions; 'broker': it goes through the outbox
  moved_to TEXT NOT NULL DEFAULT ''  -- where everything was moved to, for people; then nothing may be written here
);
