"""An installation as in production: several processes of `wfo` on one PostgreSQL and one RabbitMQ, with a plain consumer that
sees everything; and what is known of it from outside (`facts`)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import invariants
from invariants import Facts
from neighbours import Observer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from wfo import BINARY, Server  # noqa: E402

STATUS = ["running", "completed", "failed", "cancelled"]
OUTCOME = ["started", "absorbed", "refused"]
PATIENCE_S = 360 if os.environ.get("WFO_SANITIZE") else 120  # for anything to happen


def wait_until(condition, what, patience_s=PATIENCE_S, every_s=0.05):
    """Waits until `condition()` is true, and returns what it gave."""
    until = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {patience_s} s")
        time.sleep(every_s)


class Replica:
    """A process of `wfo serve`, which may be killed and started again. Its stderr goes to a file."""

    def __init__(self, name, folder, environment, arguments=()):
        self.name = name
        self.data = Path(folder) / name
        self.log = Path(folder) / f"{name}.log"
        self.environment = environment
        self.arguments = [str(argument) for argument in arguments]
        self.process = None
        self.port = None
        self.starts = 0

    def start(self):
        self.starts += 1
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            log.write(f"---- start {self.starts} of {self.name}\n".encode())
            command = [BINARY, "serve", "--data-dir", str(self.data), "--port", "0", *self.arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.environment})
        self._begin = begin
        return self

    def await_port(self, patience_s=60):
        """Waits until it listens; returns its port."""
        def port():
            assert self.alive(), f"{self.name} ended with {self.process.poll()}:\n{self.tail()}"
            return self.has_port()
        return wait_until(port, f"port of {self.name}", patience_s)

    def has_port(self):
        """Its port, if it listens already."""
        match = re.search(r"http://127\.0\.0\.1:(\d+)", self.said())
        self.port = int(match[1]) if match else None
        return self.port

    def said(self):
        """What it has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode(errors="replace")

    def tail(self, lines=15):
        return f"-- {self.log.name}, its last lines:\n" + "\n".join(
            self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def ask(self, method, path, body=None, headers=None):
        return Server.ask(self, method, path, body, headers)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait(30)

    def stop(self):
        """In good order; returns the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} does not stop:\n{self.tail()}") from None
        return self.process.returncode


class Installation:
    """`place`: a database and a virtual host of its own (servers.py)."""

    def __init__(self, place, folder):
        self.place = place
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replicas = []
        self.observer = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for replica in self.replicas:
            replica.kill()
        if self.observer:
            self.observer.stop()
        if kind:
            print(self.tails(), file=sys.stderr)

    def observe(self):
        self.observer = Observer(self.place.bus_url, self.folder)

    def replica(self, name, roles=None, store_url=None, bus_url=None, **settings):
        """A process that is not started yet."""
        arguments = ["--roles", ",".join(roles)] if roles else []
        for key, value in settings.items():
            arguments += ["--set", f"{key.replace('__', '.')}={value}"]
        environment = {"WFO_STORE_URL": store_url or self.place.store_url, "WFO_BUS_URL": bus_url or self.place.bus_url}
        replica = Replica(name, self.folder, environment, arguments)
        self.replicas.append(replica)
        return replica

    def start(self, *replicas):
        """Starts them and waits until each listens and says that it is ready."""
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.await_port()
        for replica in replicas:
            wait_until(lambda r=replica: r.ask("GET", "/ready")[0] == 200, f"{replica.name} is ready")

    def tails(self):
        return "\n".join(replica.tail() for replica in self.replicas)

    # --- what the database says

    def query(self, sql):
        """The rows of one statement, each a list of texts (None: null)."""
        return self.place.query(sql)

    def one(self, sql):
        return self.query(sql)[0]

    def lease(self, name):
        """Who holds it (nothing: nobody does) and its epoch."""
        where = "wfo_ledger.leases" if name == "ledger" else f"wfo.leases WHERE name = '{name}'"
        rows = self.query(f"SELECT holder, epoch, expires_at > extract(epoch FROM clock_timestamp()) * 1000 FROM {where}")
        if not rows:
            return None, 0
        holder, epoch, is_held = rows[0]
        pid = int(holder.split(":")[1]) if holder and is_held == "t" else None
        return next((replica for replica in self.replicas if replica.alive() and replica.pid == pid), None), int(epoch)

    def unrest(self, triggers):
        """What is still under way when `triggers` were accepted; "" when all is at rest."""
        types = ",".join(f"'{name}'" for name in invariants.LEDGER_TYPES)
        names = ("triggers", "running", "absorbed", "outbox", "entries", "logged_for_ledger", "log")
        values = map(int, self.one(
            "SELECT (SELECT count(*) FROM wfo.triggers), (SELECT count(*) FROM wfo.runs WHERE status = 0), "
            "(SELECT count(*) FROM wfo.triggers WHERE outcome = 1 AND follow_up IS NULL), "
            "(SELECT count(*) FROM wfo.outbox), (SELECT count(*) FROM wfo_ledger.entries), "
            f"(SELECT count(*) FROM wfo.log WHERE type IN ({types})), (SELECT count(*) FROM wfo.log)"))
        now = dict(zip(names, values))
        logged = sum(1 for message in invariants.first_occurrences(self.observer.messages()) if invariants.is_ours(message))
        is_at_rest = (now["triggers"] >= triggers and not now["running"] and not now["absorbed"] and not now["outbox"] and
                      now["entries"] >= now["logged_for_ledger"] and logged >= now["log"])
        return "" if is_at_rest else f"{now}, observed {logged}, triggers wanted {triggers}"

    def settle(self, triggers, patience_s=PATIENCE_S):
        """Waits until all is at rest. Returns "" or, when the time is over, what is not."""
        until = time.monotonic() + patience_s
        while True:
            unrest = self.unrest(triggers)
            if not unrest or time.monotonic() > until:
                return unrest
            time.sleep(0.2)

    def facts(self, confirmed):
        """All that can be known from outside, once all is at rest."""
        facts = Facts(confirmed=confirmed, observed=list(self.observer.messages()))
        log = self.query("SELECT sequence, type, encode(sha256(event), 'hex'), committed_at FROM wfo.log ORDER BY sequence")
        facts.log = [(int(sequence), type_, sha256) for sequence, type_, sha256, _ in log]
        facts.committed_ms = {sha256: int(committed) for _, _, sha256, committed in log}
        facts.triggers = {id_: {"tenant": tenant, "outcome": OUTCOME[int(outcome)], "workflow": workflow,
                                "follow_up": follow_up, "reason": reason}
                          for id_, tenant, outcome, workflow, follow_up, reason in self.query(
                              "SELECT id, tenant, outcome, workflow, follow_up, reason FROM wfo.triggers")}
        facts.runs = {id_: {"tenant": tenant, "status": STATUS[int(status)], "attempt": int(attempt), "trigger": trigger,
                            "wakes": wake_up is not None}
                      for id_, tenant, status, attempt, trigger, wake_up in self.query(
                          "SELECT id, tenant, status, attempt, trigger_id, wake_up_at FROM wfo.runs")}
        facts.outbox = int(self.one("SELECT count(*) FROM wfo.outbox")[0])
        facts.dead_letters = [f"{queue} {type_}: {reason}" for queue, type_, reason in self.query(
            "SELECT queue, type, reason FROM wfo.dead_letters")]
        facts.quarantine = [reason for reason, in self.query("SELECT reason FROM wfo_ledger.quarantine")]
        recorded = {message["tenant"] for message in facts.observed if message["type"] in invariants.LEDGER_TYPES}
        for tenant in sorted({run["tenant"] for run in facts.runs.values()} | (recorded - {None})):
            facts.ledger[tenant] = self.exported(tenant)
        return facts

    def exported(self, tenant):
        """The tenant's ledger, as `wfo audit export` gives it: (index, event id, type, sha256)."""
        replica = next(replica for replica in self.replicas if replica.alive())
        done = subprocess.run([BINARY, "audit", "export", "--data-dir", str(replica.data), "--tenant", tenant],
                              capture_output=True, timeout=120, env={**os.environ, **replica.environment}, check=False)
        assert done.returncode == 0, f"audit export: exit code {done.returncode}: {done.stderr.decode()[-2000:]}"
        entries = []
        for line in done.stdout.splitlines():
            index, bytes_ = invariants.exported_entry(line)
            event = json.loads(bytes_)
            entries.append((index, event["id"], event["type"], invariants.digest(bytes_)))
        return entries
