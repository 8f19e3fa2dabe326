-- Who may append, one process at a time.
CREATE TABLE leases (
  name       TEXT NOT NULL PRIMARY KEY,
  holder     TEXT NOT NULL,  -- '' when it was given back
  epoch      INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
