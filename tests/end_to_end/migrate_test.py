"""`wfo migrate`: an installation with work of every kind in its data directory moves to PostgreSQL and goes on there; nothing
is lost, nothing happens twice, whatever interrupts the move."""

import json
import random
import sys
import time
import unittest
import uuid
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "production"))
from place import Place  # noqa: E402
from servers import Servers  # noqa: E402
from wfo import (COMPLETED, STARTED, STEP_COMPLETED, TENANT, Process, Server, eventually, export, run, run_json,  # noqa: E402
                 temporary_folder, write_pipeline)

WORKFLOWS = "/api/v1/workflows"
KNOWN = {"state": "open", "amount": 1200, "stage": "Engaging"}
ROWS, WAITING, HALF_DONE = 300, 40, 20

SERVERS = Servers()
PLACES = iter(range(1, 1000))


def setUpModule():
    SERVERS.__enter__()


def tearDownModule():
    SERVERS.__exit__()


def new_place():
    return Place(SERVERS, f"migrate{next(PLACES)}")


def start(server, opportunity):
    status, answer = server.ask("POST", WORKFLOWS, {"opportunityId": opportunity, "changes": KNOWN})
    assert status == 202, answer
    return answer


def steps_completed(server, workflow):
    steps = server.ask("GET", f"{WORKFLOWS}/{workflow}")[1]["steps"]
    return sum(step["state"] == "completed" for step in steps)


def fill(data, folder):
    """An installation in the middle of everything; the ids of the runs that have not ended."""
    file = folder / "pipeline.csv"
    write_pipeline(file, ROWS)
    run("analyze", file, "--data-dir", data, "--quiet")
    # Asked for, and nobody answers; neither does the ledger know of them.
    with Server(data, "--roles", "workflow-orchestrator") as server:
        running = [start(server, f"WAITING-{i}")["workflowId"] for i in range(WAITING)]
        absorbed = start(server, "WAITING-0")
        assert (absorbed["outcome"], absorbed["workflowId"]) == ("absorbed", running[0]), absorbed
        cancelled = running.pop()
        assert server.ask("POST", f"{WORKFLOWS}/{cancelled}/cancel", {"reason": "not needed"})[0] == 200
        server.kill()
    # Some of their steps are done.
    with Server(data, "--roles", "workflow-orchestrator,risk-analytics,logging") as server:
        half = [start(server, f"HALF-{i}")["workflowId"] for i in range(HALF_DONE)]
        eventually(lambda: all(steps_completed(server, workflow) == 2 for workflow in half), "half of the steps")
        # A completion whose risk score breaks the step: no worker of ours would send it.
        letter = {"id": str(uuid.uuid4()), "type": "integration.opportunity.updated", "version": "1.0.0",
                  "timestamp": "2026-03-01T09:30:00.000Z", "tenantId": TENANT, "source": "crm",
                  "data": {"opportunityId": "HALF-0", "changes": {"amount": "much"}}}
        status, answer = server.ask("POST", "/api/v1/events", letter)
        assert status in (200, 202), answer
        eventually(lambda: server.ask("GET", "/api/v1/dead-letters")[1]["deadLetters"], "a dead letter")
        server.kill()
    return running + half


class Migrate(unittest.TestCase):
    def assert_moved_on(self, place, running, env):
        """Every run of `fill` has ended exactly once, and the ledger holds all of it once, in order."""
        expected = ROWS + WAITING + HALF_DONE + 1  # one follow-up of the absorbed trigger

        def history():
            entries = [json.loads(line) for line in run("audit", "export", env=env).stdout.splitlines()]
            ends = [e for e in entries if e["event"]["type"] not in (STARTED, STEP_COMPLETED)]
            return len(ends) >= expected and entries
        entries = eventually(history, "the end of every run in the ledger")
        self.assertEqual([entry["index"] for entry in entries], list(range(len(entries))))
        self.assertEqual(len({entry["event"]["id"] for entry in entries}), len(entries))
        of_run = {}
        for entry in entries:
            of_run.setdefault(entry["event"]["data"]["workflowId"], []).append(entry["event"])
        self.assertEqual(len(of_run), expected)
        whole_run = [STARTED] + [STEP_COMPLETED] * 4 + [COMPLETED]
        odd = {w: types for w, events in of_run.items() if (types := [e["type"] for e in events]) != whole_run}
        self.assertEqual([types[0] for types in odd.values()], [STARTED], odd)
        self.assertEqual([events[-1]["data"]["error"] for w, events in of_run.items() if w in odd],
                         ["cancelled: not needed"])
        for workflow in running:
            self.assertIn(workflow, of_run)
        self.assertEqual(place.query("SELECT count(*) FROM wfo.runs WHERE status = 0"), [["0"]])
        self.assertEqual(sorted(place.query("SELECT count(*) FROM wfo.runs")), [[str(expected)]])

    def test_everything_arrives_and_goes_on_however_often_the_move_is_killed(self):
        chance = random.Random(7)
        place = new_place()
        env = {"WFO_STORE_URL": place.store_url, "WFO_BUS_URL": place.bus_url}
        with temporary_folder() as folder:
            data = folder / "data"
            running = fill(data, folder)
            begun = time.monotonic()
            kills = 0
            for delay in [0.05, 0.1, 0.2, 0.3, 0.5] + [chance.uniform(0, 1) for _ in range(5)]:
                with Process("migrate", "--from", data, "--to", place.store_url) as move:
                    until = time.monotonic() + delay
                    while time.monotonic() < until and move.alive():
                        time.sleep(0.005)
                    kills += move.kill() < 0
            self.assertGreaterEqual(kills, 3, f"the move is too quick to be killed ({time.monotonic() - begun} s)")
            report = run_json("migrate", "--from", data, "--to", place.store_url)
            rows = {table["name"]: table["rows"] for table in report["tables"]}
            self.assertEqual((rows["runs"], rows["dead_letters"], rows["opportunities"]),
                             (ROWS + WAITING + HALF_DONE, 1, ROWS + WAITING + HALF_DONE))
            again = run_json("migrate", "--from", data, "--to", place.store_url)
            self.assertTrue(again["alreadyMoved"])
            self.assertEqual(again["tables"], report["tables"])
            self.assertTrue(all(len(table["digest"]) == 64 for table in report["tables"]))

            # The source serves no more, and says where everything is.
            for arguments in (["serve", "--port", 0], ["workflows", "list"], ["audit", "export"], ["bench", "--workflows", 1]):
                refused = run(*arguments, "--data-dir", data, code=1).stderr
                self.assertIn("moved to PostgreSQL", refused)
                self.assertIn(place.name, refused)
                self.assertNotIn(urlsplit(place.store_url).password, refused)

            with Server(folder / "new", env=env) as server:
                letters = server.ask("GET", "/api/v1/dead-letters")[1]["deadLetters"]
                self.assertEqual([letter["status"] for letter in letters], ["waiting"])
                self.assert_moved_on(place, running, env)
                # The same file again is known.
                summary = json.loads(run("analyze", folder / "pipeline.csv", "--data-dir", folder / "client", "--output", "json",
                                         env=env).stdout)
                self.assertEqual((summary["runs"]["known"], summary["runs"]["started"]), (ROWS, 0))
                self.assertEqual(server.stop(), 0)

    def test_the_ledger_may_go_to_another_database(self):
        place = new_place()
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 20)
            run("analyze", file, "--data-dir", data, "--quiet")
            before = export(data)
            table = run("migrate", "--from", data, "--to", place.store_url, "--ledger-to", SERVERS.ledger_url,
                        "--set", "ledger.schema=moved_ledger")
            self.assertRegex(table.stdout, r"ledger entries +120 ")
            for url in (place.store_url, SERVERS.ledger_url):
                self.assertNotIn(urlsplit(url).password, table.stdout + table.stderr)
            env = {"WFO_STORE_URL": place.store_url, "WFO_LEDGER_URL": SERVERS.ledger_url,
                   "WFO_LEDGER_SCHEMA": "moved_ledger"}
            after = [json.loads(line) for line in run("audit", "export", env=env).stdout.splitlines()]
            self.assertEqual(after, before)

    def test_what_waits_for_the_broker_goes_to_it_from_the_new_place(self):
        place = new_place()
        env = {"WFO_STORE_URL": place.store_url, "WFO_BUS_URL": place.bus_url}
        with temporary_folder() as folder:
            data = folder / "data"
            absent = {"WFO_BUS_URL": "amqp://wfo:wfo@127.0.0.1:1/none"}
            with Server(data, env=absent) as server:
                running = [start(server, f"OPP-{i}")["workflowId"] for i in range(10)]
                refused = run("migrate", "--from", data, "--to", place.store_url, code=1).stderr
                self.assertIn(str(server.process.pid), refused)
                server.kill()
            report = run_json("migrate", "--from", data, "--to", place.store_url)
            self.assertEqual(report["awaitingPublication"], 10 * 5)  # started and four requests of each
            with Server(folder / "new", env=env) as server:
                for workflow in running:
                    eventually(lambda w=workflow: server.ask("GET", f"{WORKFLOWS}/{w}")[1]["status"] == "completed", workflow)

    def test_what_cannot_be_moved_is_refused(self):
        place = new_place()
        env = {"WFO_STORE_URL": place.store_url, "WFO_BUS_URL": place.bus_url}
        with temporary_folder() as folder:
            self.assertIn("no installation", run("migrate", "--from", folder / "none", "--to", place.store_url, code=3).stderr)
            self.assertFalse((folder / "none").exists(), "asking makes no folder")
            self.assertIn("--to", run("migrate", "--from", folder, code=2).stderr)
            with Server(folder / "served", env=env):
                pass
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 5)
            run("analyze", file, "--data-dir", data, "--quiet")
            refused = run("migrate", "--from", data, "--to", place.store_url, code=1).stderr
            self.assertIn("schema wfo", refused)
            run("workflows", "list", "--data-dir", data)  # it is still the one that counts


if __name__ == "__main__":
    unittest.main()
