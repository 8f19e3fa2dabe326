-- Schedules, their fires, the runs of jobs, and what the built-in jobs write.

CREATE TABLE schedules (
  name       TEXT NOT NULL PRIMARY KEY,
  origin     INTEGER NOT NULL,  -- 0 configuration, 1 api
  definition TEXT NOT NULL,     -- schedule::encode
  paused     INTEGER NOT NULL,
  pause_note TEXT NOT NULL,
  next_at    INTEGER,           -- the first expected fire that is not accounted for
  wake_up_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version    INTEGER NOT NULL   -- counts updates
);
CREATE INDEX schedules_by_wake_up ON schedules (wake_up_at) WHERE wake_up_at IS NOT NULL;

-- What became of every expected fire; consecutive skipped ones of one cause and rule share a row.
CREATE TABLE fires (
  fire       INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of decisions
  schedule   TEXT NOT NULL,
  first_at   INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  count      INTEGER NOT NULL,
  outcome    INTEGER NOT NULL,  -- schedule::FireOutcome: 0 triggered, 1 buffered, 2 skipped
  cause      INTEGER NOT NULL,  -- schedule::FireCause, in its order
  rule       INTEGER NOT NULL,  -- schedule::FireRule, in its order
  decided_at INTEGER NOT NULL,
  run        BLOB               -- of a triggered one: job_runs.id
);
CREATE INDEX fires_by_schedule ON fires (schedule, fire);
CREATE INDEX fires_buffered ON fires (schedule, first_at) WHERE outcome = 1;
CREATE INDEX fires_decided ON fires (decided_at) WHERE outcome <> 1;
-- Triggered ones that waited or were asked for.
CREATE INDEX fires_in_turn ON fires (run) WHERE outcome = 0 AND cause IN (2, 3);

CREATE TABLE job_runs (
  run            INTEGER PRIMARY KEY,
  id             BLOB NOT NULL,
  job            TEXT NOT NULL,
  status         INTEGER NOT NULL,  -- schedule::JobRunStatus: 0 pending, 1 queued, 2 running, 3 completed, 4 failed, 5 cancelled
  triggered_by   INTEGER NOT NULL,  -- 0 scheduler, 1 manual
  schedule       TEXT NOT NULL,     -- '' if none
  scheduled_for  INTEGER,
  trigger_id     BLOB NOT NULL,     -- the event's id
  due_at         INTEGER,           -- of an open run: never null
  deadline       INTEGER,
  version        INTEGER NOT NULL,  -- counts updates
  created_at     INTEGER NOT NULL,
  started_at     INTEGER,
  ended_at       INTEGER,
  attempt        INTEGER NOT NULL,
  takeovers      INTEGER NOT NULL,
  progress_done  INTEGER NOT NULL,
  progress_total INTEGER,
  progress_note  TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  holder         TEXT NOT NULL,
  metadata       TEXT NOT NULL,
  checkpoint     TEXT NOT NULL,
  counts         TEXT NOT NULL,     -- store::encode_counts
  error          TEXT NOT NULL
);
CREATE UNIQUE INDEX job_runs_by_id ON job_runs (id);
CREATE UNIQUE INDEX job_runs_by_trigger ON job_runs (trigger_id);
CREATE INDEX job_runs_due ON job_runs (status, due_at) WHERE status <= 2;
CREATE INDEX job_runs_deadline ON job_runs (deadline) WHERE status <= 2 AND deadline IS NOT NULL;
CREATE INDEX job_runs_open_by_schedule ON job_runs (schedule, id) WHERE status <= 2;
CREATE INDEX job_runs_pending_by_job ON job_runs (job, created_at) WHERE status = 0;
CREATE INDEX job_runs_by_job ON job_runs (job, id);
CREATE INDEX job_runs_by_schedule ON job_runs (schedule, id);
-- Lists of completed runs go along the indexes above, since those are the many, and lists of open ones along job_runs_due.
CREATE INDEX job_runs_by_status ON job_runs (status, id) WHERE status > 3;
CREATE INDEX job_runs_ended ON job_runs (ended_at) WHERE status > 2;
CREATE INDEX job_runs_completed ON job_runs (job, ended_at) WHERE status = 3;

-- One row per tenant, opportunity and day (UTC): the day's last risk analysis.
CREATE TABLE risk_snapshots (
  snapshot     INTEGER PRIMARY KEY,
  tenant       BLOB NOT NULL,
  opportunity  BLOB NOT NULL,
  day          INTEGER NOT NULL,  -- days since 1970
  evaluated_at INTEGER NOT NULL,
  event        BLOB NOT NULL,     -- the id of the event it is taken from
  workflow     BLOB NOT NULL,
  fields       TEXT NOT NULL      -- JSON object
);
CREATE UNIQUE INDEX risk_snapshots_by_day ON risk_snapshots (tenant, opportunity, day);

-- Outcomes that were published.
CREATE TABLE outcomes (
  outcome     INTEGER PRIMARY KEY,
  tenant      BLOB NOT NULL,
  opportunity BLOB NOT NULL,
  close_on    INTEGER NOT NULL,  -- days since 1970
  event       BLOB NOT NULL,     -- the event's id
  recorded_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX outcomes_by_day ON outcomes (tenant, opportunity, close_on);
