"""A database and a virtual host of its own, so that tests share a pair of servers and nothing else; the same questions for the
other pair, SQLite and RabbitMQ."""

import hashlib
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit


class Place:
    """Made in servers that run (end_to_end/servers.py); gone with them."""

    def __init__(self, servers, name):
        self.servers = servers
        self.name = name
        servers.psql(f'CREATE DATABASE "{name}" OWNER wfo')
        servers.rabbitmqctl("eval", f'rabbit_vhost:add(<<"{name}">>, <<"test">>), '
                                    f'rabbit_auth_backend_internal:set_permissions(<<"wfo">>, <<"{name}">>, '
                                    '<<".*">>, <<".*">>, <<".*">>, <<"test">>).')

    @property
    def store_url(self):
        return urlsplit(self.servers.store_url)._replace(path=f"/{self.name}").geturl()

    @property
    def bus_url(self):
        return urlsplit(self.servers.bus_url)._replace(path=f"/{quote(self.name, safe='')}").geturl()

    def query(self, sql):
        return self.servers.psql(sql, database=self.name)

    def queues(self):
        """{queue: messages, those not yet acknowledged included}"""
        lines = self.servers.rabbitmqctl("--no-table-headers", "list_queues", "--vhost", self.name, "name", "messages")
        return {name: int(messages) for name, messages in (line.rsplit("\t", 1) for line in lines.splitlines())}


class SqlitePlace(Place):
    """The same for one process that keeps its state in files: `query` takes what it takes of PostgreSQL."""

    def __init__(self, servers, name, data_dir):
        self.data_dir = Path(data_dir)
        super().__init__(servers, name)

    @property
    def store_url(self):
        return "sqlite"

    def query(self, sql):
        with closing(sqlite3.connect(f"file:{self.data_dir / 'wfo.db'}?mode=ro", uri=True, timeout=30)) as files:
            files.execute("ATTACH ? AS ledger_file", (f"file:{self.data_dir / 'ledger.db'}?mode=ro",))
            files.create_function("uuid_text", 1, lambda blob: blob and str(uuid.UUID(bytes=blob)), deterministic=True)
            files.create_function("sha256", 1, lambda blob: hashlib.sha256(blob).digest(), deterministic=True)
            files.create_function("encode", 2, lambda blob, _: blob.hex(), deterministic=True)
            files.executescript("""
                CREATE TEMP VIEW wfo_log AS SELECT sequence, t.name AS type, committed_at, event
                  FROM main.log JOIN main.event_types t ON t.id = log.type;
                CREATE TEMP VIEW wfo_runs AS SELECT uuid_text(id) AS id, uuid_text(tenant) AS tenant, status, attempt,
                  uuid_text(trigger_id) AS trigger_id, wake_up_at FROM main.runs;
                CREATE TEMP VIEW wfo_triggers AS SELECT uuid_text(id) AS id, uuid_text(tenant) AS tenant, outcome,
                  uuid_text(workflow) AS workflow, uuid_text(follow_up) AS follow_up, reason FROM main.triggers;
                CREATE TEMP VIEW wfo_outbox AS SELECT * FROM main.outbox;
                CREATE TEMP VIEW wfo_dead_letters AS SELECT queue, type, reason FROM main.dead_letters;
                CREATE TEMP VIEW wfo_ledger_entries AS SELECT * FROM ledger_file.entries;
                CREATE TEMP VIEW wfo_ledger_quarantine AS SELECT * FROM ledger_file.quarantine;""")
            rows = files.execute(sql.replace("wfo_ledger.", "wfo_ledger_").replace("wfo.", "wfo_")).fetchall()
        return [[None if value is None else str(value) for value in row] for row in rows]
