"""Runs the program from outside, for the tests in this folder: only what a user has, plus a look into the ledger's file
to see how far the work is. Every process that is started here is ended here, by its pid."""

import contextlib
import datetime
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BINARY = os.environ["WFO_BINARY"]
TENANT = "00000000-0000-4000-8000-000000000001"
SYSTEM_TENANT = "00000000-0000-0000-0000-000000000001"  # of jobs
STARTED = "workflow.opportunity.analysis.started"
STEP_COMPLETED = "workflow.step.completed"
COMPLETED = "workflow.opportunity.analysis.completed"
FAILED = "workflow.opportunity.analysis.failed"
PATIENCE_S = 240  # for anything to happen, also under sanitizers

sys.path.append(str(SOURCE / "tests/production"))
import clocks  # noqa: E402


@contextlib.contextmanager
def temporary_folder():
    folder = Path(tempfile.mkdtemp(prefix="wfo-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(*arguments, code=0, env=None, cwd=None):
    """Runs `wfo` with these arguments; fails unless it exits with `code` (None: any). Returns the finished process."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S,
                          env={**os.environ, **(env or {})}, cwd=cwd, check=False)
    if code is not None and done.returncode != code:
        raise AssertionError(f"wfo {' '.join(map(str, arguments))}: exit code {done.returncode}, wanted {code}\n"
                             f"stdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-4000:]}")
    return done


def run_json(*arguments, code=0, env=None):
    return json.loads(run(*arguments, "--output", "json", code=code, env=env).stdout)


def eventually(condition, what):
    """Waits until `condition()` is true, and returns what it gave."""
    until = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.002)


class Process:
    """`wfo` in the background; its stderr is kept."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})})
        self.output, self.errors = [], []
        self.readers = [threading.Thread(target=self._read, args=(stream, lines), daemon=True)
                        for stream, lines in ((self.process.stdout, self.output), (self.process.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line)

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(PATIENCE_S)
        for reader in self.readers:
            reader.join(PATIENCE_S)
        return code

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdout.close()
        self.process.stderr.close()


class Server(Process):
    """`wfo serve` on a free port."""

    def __init__(self, data_dir, *arguments, env=None):
        super().__init__("serve", "--data-dir", data_dir, "--port", 0, *arguments, env=env)
        self.port = None

    def __enter__(self):
        def port():
            assert self.alive(), f"serve ended with {self.wait()}: {''.join(self.errors)}"
            return re.search(r"http://127\.0\.0\.1:(\d+)", "".join(self.errors))
        try:
            self.port = int(eventually(port, "the server's port")[1])
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def ask(self, method, path, body=None, headers=None):
        """The status and the body, parsed if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            headers = dict(headers or {})
            if body is not None:
                body = body if isinstance(body, (str, bytes)) else json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if (answer.getheader("Content-Type") or "").startswith("application/json"):
                return answer.status, json.loads(text)
            return answer.status, text.decode()
        finally:
            connection.close()

    def raw(self, text, end=True):
        """What comes back for these bytes on a connection of their own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(text)
            if end:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received


class WallClock(clocks.Clock):
    """What time it is for the processes that are started with its `environment`. It goes on from where it is set."""

    def __init__(self, folder, when):
        super().__init__(clocks.compile_library(folder), Path(folder) / "clock")
        self.go_to(when)

    def go_to(self, when):
        """`when`: `2026-03-01T10:00:00Z`."""
        self.set(moment(when).timestamp() - time.time())

    def now(self):
        return datetime.datetime.fromtimestamp(time.time() + self.ahead_s, datetime.timezone.utc)


def moment(text):
    """The time that RFC 3339 text says."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def ledger_size(data_dir):
    """How many entries the ledger's file holds now; 0 before there is one."""
    file = Path(data_dir) / "ledger.db"
    if not file.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    except sqlite3.OperationalError:  # it is being made
        return 0


def export(data_dir, *arguments, env=None):
    """The ledger's entries, as `audit export` gives them."""
    text = run("audit", "export", "--data-dir", data_dir, *arguments, env=env).stdout
    return [json.loads(line) for line in text.splitlines()]


def write_pipeline(file, rows, seed=1):
    """A CSV of made-up opportunities in our own column names; a third is open."""
    chance = random.Random(seed)
    with open(file, "w", encoding="utf-8") as out:
        out.write("external_id,name,state,stage,amount,product,account,owner,created_date,close_date\n")
        for i in range(rows):
            state = chance.choice(["open", "won", "lost"])
            day = chance.randint(1, 28)
            closed = "" if state == "open" else f"2025-{chance.randint(7, 12):02}-{day:02}"
            amount = chance.choice(["", str(chance.randint(100, 90_000))])
            account = chance.choice(["", "Acme, Inc.", "Globex", "Initech"])
            quoted = f'"{account}"' if "," in account else account
            out.write(f"OPP-{i:05},Deal {i},{state},{state},{amount},{chance.choice(['Basic', 'Plus', 'Pro'])},{quoted},"
                      f"{chance.choice(['ann', 'bob', 'cleo'])},2025-{chance.randint(1, 6):02}-{day:02},{closed}\n")


def check_history(test, entries, runs):
    """Exactly one started, four step.completed and one completed for each of `runs` runs, in that order, and the
    tenant's sequence without gap or repeat."""
    test.assertEqual([entry["index"] for entry in entries], list(range(len(entries))))
    of_run = {}
    for entry in entries:
        event = entry["event"]
        of_run.setdefault(event["data"]["workflowId"], []).append(event)
    test.assertEqual(len(of_run), runs)
    for workflow, events in of_run.items():
        types = [event["type"] for event in events]
        test.assertEqual(types, [STARTED] + [STEP_COMPLETED] * 4 + [COMPLETED], workflow)
        test.assertEqual(len({event["data"]["stepType"] for event in events[1:5]}), 4, workflow)
    test.assertEqual(len({entry["event"]["id"] for entry in entries}), len(entries))
    opportunities = [events[0]["data"]["opportunityId"] for events in of_run.values()]
    test.assertEqual(len(set(opportunities)), runs, "an opportunity was analysed twice")
