-- The audit log: runs inside a schema of its own, possibly in another database than the rest. Ids are uuids, times are
-- milliseconds since 1970 UTC, payloads are bytes. A role that appends needs no right to change or delete `entries` or
-- `quarantine`: SELECT and INSERT on these and on event_types, UPDATE besides on the others.

-- Work that one process does at a time: `append`.
CREATE TABLE leases (
  name       text COLLATE "C" PRIMARY KEY,
  holder     text NOT NULL,    -- '' when it was given back
  epoch      bigint NOT NULL,  -- counts its holders
  expires_at bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE tenants (
  tenant integer PRIMARY KEY,  -- 1, 2, 3, … in the order in which they came
  id     uuid NOT NULL UNIQUE,
  size   bigint NOT NULL       -- how many entries there are: the next one's index; locked by who appends
) WITH (fillfactor = 50);

CREATE TABLE event_types (
  type integer PRIMARY KEY,    -- 1, 2, 3, …
  name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE entries (
  tenant      integer NOT NULL,
  type        integer NOT NULL,
  index       bigint NOT NULL,  -- in the tenant's ledger: 0, 1, 2, … without gaps
  timestamp   bigint NOT NULL,  -- the event's own
  received_at bigint NOT NULL,
  event_id    uuid NOT NULL,
  workflow    uuid,
  opportunity uuid,
  bytes       bytea NOT NULL,   -- as received
  PRIMARY KEY (tenant, index)
);
CREATE UNIQUE INDEX entries_by_event ON entries (event_id, tenant);
-- They end with the index, so that a page of what is found needs no sorting.
CREATE INDEX entries_by_workflow ON entries (workflow, index) WHERE workflow IS NOT NULL;
CREATE INDEX entries_by_opportunity ON entries (opportunity, index) WHERE opportunity IS NOT NULL;

-- What may be found among 1024 consecutive entries of a tenant, so that a search by time or type passes over most of
-- them. An index on time would not do: its order is not that of the entries, and a page of them must not need sorting.
CREATE TABLE blocks (
  tenant integer NOT NULL,
  block  bigint NOT NULL,  -- entries.index >> 10
  first  bigint NOT NULL,  -- the earliest timestamp
  last   bigint NOT NULL,  -- the latest
  types  bigint NOT NULL,  -- bit (type mod 64) is set for each type
  PRIMARY KEY (tenant, block)
) WITH (fillfactor = 90);

CREATE TABLE quarantine (
  message     bigint PRIMARY KEY,  -- 1, 2, 3, …
  tenant      uuid,
  event_id    uuid,
  reason      text NOT NULL,
  received_at bigint NOT NULL,
  bytes       bytea NOT NULL       -- as received
);
CREATE INDEX quarantine_by_tenant ON quarantine (tenant, message) WHERE tenant IS NOT NULL;

-- How far each consumer has come.
CREATE TABLE positions (
  consumer text COLLATE "C" PRIMARY KEY,
  position bigint NOT NULL
) WITH (fillfactor = 50);

-- Appends a batch: one statement is one round trip and one transaction, so nothing is locked while the server waits for
-- a client that is paused or gone. Returns a letter for each record, in order: a appended, r repeated, f forged; null,
-- and nothing is written, if the right to append was taken over.
--
-- Each inner statement sees what was committed before it began. Who appends to a tenant holds its row of `tenants`,
-- so from there on nobody else adds entries to it: its size and which ids it knows stay true until the commit.
-- Locks are taken in one order by everybody: the lease, new tenants and types, tenants by id, the quarantine, positions.
-- Plans are made while the tables are small and used when they are not, so rows are looked up by subqueries, which can
-- only go along an index, and not by joins, which could begin at the wrong end.
CREATE FUNCTION append_entries(
  lease_epoch    bigint,     -- null: nobody else can be appending
  tenant_ids     uuid[],     -- each once, in the order in which they came
  type_names     text[],     -- each once
  -- A place for each record.
  tenant_of      bigint[],  -- its tenant's place in tenant_ids, from 1
  type_of        bigint[],  -- its type's place in type_names, from 1
  rank_of        bigint[],   -- how many of its tenant come before it; null: its id comes before it
  event_ids      uuid[],
  timestamps     bigint[],
  received_ats   bigint[],
  workflows      uuid[],
  opportunities  uuid[],
  payloads       bytea[],
  -- A place for each message that could not be read.
  odd_tenants    uuid[],
  odd_event_ids  uuid[],
  odd_reasons    text[],
  odd_received   bigint[],
  odd_payloads   bytea[],
  consumer_name  text,
  consumer_position bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  tenant_numbers integer[];
  sizes          bigint[];
  grown          bigint[];  -- by how many entries
  type_numbers   integer[];
  known          bigint[];  -- the places of records whose ids are known
  ranks          bigint[] := rank_of;
  outcomes       text := repeat('a', cardinality(event_ids));
BEGIN
  IF lease_epoch IS NOT NULL THEN
    PERFORM FROM leases WHERE name = 'append' AND epoch = lease_epoch AND holder <> '' FOR SHARE;
    IF NOT FOUND THEN
      RETURN NULL;
    END IF;
  END IF;

  IF (SELECT count(*) FROM tenants WHERE id = ANY (tenant_ids)) < cardinality(tenant_ids)
     OR (SELECT count(*) FROM event_types WHERE name = ANY (type_names)) < cardinality(type_names) THEN
    PERFORM pg_advisory_xact_lock('tenants'::regclass::oid::bigint);
    INSERT INTO tenants (tenant, id, size)
    SELECT (SELECT coalesce(max(tenant), 0) FROM tenants) + row_number() OVER (ORDER BY given.place), given.id, 0
    FROM unnest(tenant_ids) WITH ORDINALITY AS given (id, place)
    WHERE (SELECT t.tenant FROM tenants t WHERE t.id = given.id) IS NULL;
    INSERT INTO event_types (type, name)
    SELECT (SELECT coalesce(max(type), 0) FROM event_types) + row_number() OVER (ORDER BY given.place), given.name
    FROM unnest(type_names) WITH ORDINALITY AS given (name, place)
    WHERE (SELECT t.type FROM event_types t WHERE t.name = given.name) IS NULL;
  END IF;

  PERFORM FROM tenants WHERE id = ANY (tenant_ids) ORDER BY id FOR NO KEY UPDATE;
  SELECT array_agg((SELECT t.tenant FROM tenants t WHERE t.id = given.id) ORDER BY given.place),
         array_agg((SELECT t.size FROM tenants t WHERE t.id = given.id) ORDER BY given.place)
  INTO tenant_numbers, sizes
  FROM unnest(tenant_ids) WITH ORDINALITY AS given (id, place);
  SELECT array_agg((SELECT t.type FROM event_types t WHERE t.name = given.name) ORDER BY given.place)
  INTO type_numbers
  FROM unnest(type_names) WITH ORDINALITY AS given (name, place);

  SELECT array_agg(r.place)
  INTO known
  FROM unnest(tenant_of, event_ids) WITH ORDINALITY AS r (tenant, event_id, place)
  WHERE (SELECT true FROM entries e WHERE e.event_id = r.event_id AND e.tenant = tenant_numbers[r.tenant]);
  IF known IS NOT NULL THEN
    SELECT array_agg(CASE WHEN n.fresh THEN n.number - 1 END ORDER BY n.place)
    INTO ranks
    FROM (SELECT f.place, f.fresh, row_number() OVER (PARTITION BY f.tenant, f.fresh ORDER BY f.place) AS number
          FROM (SELECT r.place, r.tenant, r.rank IS NOT NULL AND r.place <> ALL (known) AS fresh
                FROM unnest(tenant_of, rank_of) WITH ORDINALITY AS r (tenant, rank, place)) AS f) AS n;
  END IF;

  INSERT INTO entries (tenant, type, index, timestamp, received_at, event_id, workflow, opportunity, bytes)
  SELECT tenant_numbers[r.tenant], type_numbers[r.type], sizes[r.tenant] + r.rank, r.timestamp, r.received_at,
         r.event_id, r.workflow, r.opportunity, r.bytes
  FROM unnest(tenant_of, type_of, ranks, timestamps, received_ats, event_ids, workflows, opportunities, payloads)
       AS r (tenant, type, rank, timestamp, received_at, event_id, workflow, opportunity, bytes)
  WHERE r.rank IS NOT NULL;

  INSERT INTO blocks AS b (tenant, block, first, last, types)
  SELECT tenant_numbers[r.tenant], (sizes[r.tenant] + r.rank) >> 10, min(r.timestamp), max(r.timestamp),
         bit_or(1::bigint << (type_numbers[r.type] & 63))
  FROM unnest(tenant_of, type_of, ranks, timestamps) AS r (tenant, type, rank, timestamp)
  WHERE r.rank IS NOT NULL
  GROUP BY 1, 2
  ON CONFLICT (tenant, block) DO UPDATE
  SET first = least(b.first, excluded.first), last = greatest(b.last, excluded.last), types = b.types | excluded.types;

  SELECT array_agg(of_tenant.entries ORDER BY of_tenant.tenant)
  INTO grown
  FROM (SELECT r.tenant, count(r.rank) AS entries FROM unnest(tenant_of, ranks) AS r (tenant, rank) GROUP BY r.tenant)
       AS of_tenant;
  UPDATE tenants t
  SET size = t.size + grown[array_position(tenant_ids, t.id)]
  WHERE t.id = ANY (tenant_ids) AND grown[array_position(tenant_ids, t.id)] > 0;

  IF array_position(ranks, NULL) IS NOT NULL THEN
    -- Is it the same event? The bytes themselves are compared, which no digest betters.
    SELECT string_agg(CASE
                        WHEN r.rank IS NOT NULL THEN 'a'
                        WHEN r.bytes = (SELECT e.bytes FROM entries e
                                        WHERE e.event_id = r.event_id AND e.tenant = tenant_numbers[r.tenant]) THEN 'r'
                        ELSE 'f'
                      END, '' ORDER BY r.place)
    INTO outcomes
    FROM unnest(tenant_of, ranks, event_ids, payloads) WITH ORDINALITY AS r (tenant, rank, event_id, bytes, place);
  END IF;

  IF strpos(outcomes, 'f') > 0 OR cardinality(odd_reasons) > 0 THEN
    PERFORM pg_advisory_xact_lock('quarantine'::regclass::oid::bigint);
    INSERT INTO quarantine (message, tenant, event_id, reason, received_at, bytes)
    SELECT (SELECT coalesce(max(message), 0) FROM quarantine) + row_number() OVER (ORDER BY odd.kind, odd.place),
           odd.tenant, odd.event_id, odd.reason, odd.received_at, odd.bytes
    FROM (SELECT 1 AS kind, r.place, tenant_ids[r.tenant] AS tenant, r.event_id,
                 format('entry %s of the ledger has the same event id %s with other bytes',
                        (SELECT e.index FROM entries e
                         WHERE e.event_id = r.event_id AND e.tenant = tenant_numbers[r.tenant]), r.event_id) AS reason,
                 r.received_at, r.bytes
          FROM unnest(tenant_of, event_ids, received_ats, payloads) WITH ORDINALITY
               AS r (tenant, event_id, received_at, bytes, place)
          WHERE substr(outcomes, r.place::integer, 1) = 'f'
          UNION ALL
          SELECT 2, r.place, r.tenant, r.event_id, r.reason, r.received_at, r.bytes
          FROM unnest(odd_tenants, odd_event_ids, odd_reasons, odd_received, odd_payloads) WITH ORDINALITY
               AS r (tenant, event_id, reason, received_at, bytes, place)) AS odd;
  END IF;

  INSERT INTO positions (consumer, position) VALUES (consumer_name, consumer_position)
  ON CONFLICT (consumer) DO UPDATE SET position = excluded.position;
  RETURN outcomes;
END
$$;

-- Entries of a tenant's ledger in the order of their index, at most `count_max`, the first one at `first_index` or
-- behind it. Null or '': whatever it is.
CREATE FUNCTION find_entries(
  tenant_id          uuid,
  first_index        bigint,
  count_max          bigint,
  type_name          text,
  from_time          bigint,  -- of the event, inclusive
  to_time            bigint,  -- exclusive
  wanted_workflow    uuid,
  wanted_opportunity uuid
) RETURNS SETOF entries LANGUAGE plpgsql STABLE ROWS 100 AS $$
DECLARE
  its_tenant  integer := (SELECT t.tenant FROM tenants t WHERE t.id = tenant_id);
  wanted_type integer := (SELECT y.type FROM event_types y WHERE y.name = type_name);
  left_over   bigint := count_max;
  taken       bigint;
  place       bigint;
BEGIN
  IF its_tenant IS NULL OR (wanted_type IS NULL AND type_name <> '') THEN
    RETURN;
  END IF;
  -- IS NOT DISTINCT FROM is what no index is used for: the primary key would be the wrong one.
  IF wanted_workflow IS NOT NULL THEN
    RETURN QUERY
    SELECT * FROM entries e
    WHERE e.workflow = wanted_workflow AND e.index >= first_index AND e.tenant IS NOT DISTINCT FROM its_tenant
      AND (wanted_type IS NULL OR e.type = wanted_type) AND e.timestamp >= from_time AND e.timestamp < to_time
      AND (wanted_opportunity IS NULL OR e.opportunity = wanted_opportunity)
    ORDER BY e.index LIMIT count_max;
  ELSIF wanted_opportunity IS NOT NULL THEN
    RETURN QUERY
    SELECT * FROM entries e
    WHERE e.opportunity = wanted_opportunity AND e.index >= first_index AND e.tenant IS NOT DISTINCT FROM its_tenant
      AND (wanted_type IS NULL OR e.type = wanted_type) AND e.timestamp >= from_time AND e.timestamp < to_time
    ORDER BY e.index LIMIT count_max;
  ELSE
    FOR place IN
      SELECT b.block FROM blocks b
      WHERE b.tenant = its_tenant AND b.block >= first_index >> 10 AND b.last >= from_time AND b.first < to_time
        AND (wanted_type IS NULL OR b.types & (1::bigint << (wanted_type & 63)) <> 0)
      ORDER BY b.block
    LOOP
      RETURN QUERY
      SELECT * FROM entries e
      WHERE e.tenant = its_tenant AND e.index >= greatest(first_index, place << 10) AND e.index < (place + 1) << 10
        AND (wanted_type IS NULL OR e.type = wanted_type) AND e.timestamp >= from_time AND e.timestamp < to_time
      ORDER BY e.index LIMIT left_over;
      GET DIAGNOSTICS taken = ROW_COUNT;
      left_over := left_over - taken;
      EXIT WHEN left_over <= 0;
    END LOOP;
  END IF;
END
$$
-- A page must cost what it holds: no plan that collects all and sorts it.
SET enable_bitmapscan = off;
