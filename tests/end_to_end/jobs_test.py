"""The built-in jobs over a week of analyses, killed at random moments and resumed; and jobs that a worker elsewhere does.

Environment: WFO_EVALUATIONS, how many risk analyses the week's ledger holds at least (20000); WFO_SEED, what chance begins
with. Both are printed."""

import collections
import contextlib
import csv
import datetime
import json
import os
import random
import shutil
import sqlite3
import time
import unittest
import uuid
from pathlib import Path

from wfo import (STEP_COMPLETED, SYSTEM_TENANT, TENANT, Server, WallClock, eventually, export, run, run_json,
                 temporary_folder)

EVALUATIONS = int(os.environ.get("WFO_EVALUATIONS", "20000"))
SEED = int(os.environ.get("WFO_SEED", str(time.time_ns() % 1_000_000)))
KILLS = 6
OTHER_TENANT = "00000000-0000-4000-8000-00000000000b"
FIRST_DAY = datetime.date(2026, 3, 2)
DAYS = 7
WEEK = {"from": "2026-03-02", "to": "2026-03-09"}
OTHER_ROWS = 1500  # of the other tenant, on the first day
ROWS = max(2000, (EVALUATIONS - OTHER_ROWS) // DAYS + 1)
AGAIN_EVERY = 10  # of these rows a second analysis, in the afternoon of the third day
OUTCOME = "opportunity.outcome.recorded"
EXTERNAL = "jobs:\n  - {job: crm-export, startTimeout: 30d}\n  - {job: impatient, startTimeout: 1s}\n"
QUICK = ["--set", "jobs.heartbeat_timeout=1s"]


def row_of(number, round_):
    """An opportunity as the CRM has it at that time: only its amount changes."""
    state = ("won", "lost", "won", "open")[number % 4]
    closed = "" if state == "open" else f"2025-{7 + number % 6:02}-{1 + number % 28:02}"
    amount = "" if number % 50 == 0 else str(100 + (number * 37 + round_ * 1009) % 90_000)
    return {"external_id": f"OPP-{number:05}", "name": f"Deal {number}, round {round_}", "state": state, "stage": state,
            "amount": amount, "product": ("Basic", "Plus", "Pro")[number % 3], "account": "Globex", "owner": "ann",
            "created_date": f"2025-{1 + number % 6:02}-{1 + number % 28:02}", "close_date": closed}


def write_rows(file, rows):
    with open(file, "w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def job_event(type_, job, trigger=None, tenant=SYSTEM_TENANT, **data):
    return {"id": str(uuid.uuid4()), "type": f"workflow.job.{type_}", "version": "1.0.0",
            "timestamp": "2026-03-01T01:12:00.000Z", "tenantId": tenant, "source": job, "data": {"job": job, **data},
            **({"metadata": {"causationId": trigger}} if trigger else {})}


def completed(job, **data):
    return job_event("completed", job, status="completed", completedAt="2026-03-01T01:12:00.000Z", **data)


def failed(job, error, **data):
    return job_event("failed", job, error=error, failedAt="2026-03-01T01:12:00.000Z", **data)


def rows_of(data, query, *values):
    """What a table of the store's file holds, whoever serves it."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'wfo.db'}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()


def snapshots_of(data):
    return rows_of(data, "SELECT tenant, opportunity, day, evaluated_at, event, workflow, fields FROM risk_snapshots "
                         "ORDER BY tenant, opportunity, day")


def job_metrics(server):
    """Values of the metrics whose names begin with batch_job or job, by name and labels."""
    values = {}
    for line in server.ask("GET", "/metrics")[1].splitlines():
        if line.startswith(("batch_job", "job_")):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    return values


class BuiltIn(unittest.TestCase):
    """Each test works on a copy of one installation: two tenants, a week of analyses."""

    @classmethod
    def setUpClass(cls):
        print(f"WFO_EVALUATIONS={EVALUATIONS} WFO_SEED={SEED}", flush=True)
        cls.chance = random.Random(SEED)
        folder = cls.enterClassContext(temporary_folder())
        cls.made, file = folder / "made", folder / "pipeline.csv"
        clock = WallClock(folder, f"{FIRST_DAY}T09:00:00Z")

        def analyze(rows, tenant=TENANT):
            write_rows(file, rows)
            run("analyze", file, "--data-dir", cls.made, "--tenant", tenant, "--quiet", "--as-of", "2026-03-01",
                "--log-level", "warn", env=clock.environment)
        analyze([row_of(i, 99) for i in range(OTHER_ROWS)], OTHER_TENANT)
        for day in range(DAYS):
            clock.go_to(f"{FIRST_DAY + datetime.timedelta(day)}T09:00:00Z")
            analyze([row_of(i, day) for i in range(ROWS)])
            if day == 2:
                clock.go_to(f"{FIRST_DAY + datetime.timedelta(day)}T15:00:00Z")
                analyze([row_of(i, 50) for i in range(0, ROWS, AGAIN_EVERY)])
        cls.evaluations = OTHER_ROWS + DAYS * ROWS + len(range(0, ROWS, AGAIN_EVERY))
        cls.snapshots = OTHER_ROWS + DAYS * ROWS

    def copy(self):
        folder = self.enterContext(temporary_folder())
        shutil.copytree(self.made, folder / "data")
        return folder / "data"

    def ended(self, server, run_id):
        def found():
            status, answer = server.ask("GET", f"/api/v1/jobs/runs/{run_id}")
            self.assertEqual(status, 200, answer)
            return answer["status"] not in ("pending", "queued", "running") and answer
        return eventually(found, f"the end of {run_id}")

    def killed_again_and_again(self, data, job, metadata, total, *settings):
        """The ended run of a job whose process is killed KILLS times, at random places of its progress."""
        marks = sorted(self.chance.sample(range(1, total * 9 // 10), KILLS))
        run_id, met = None, 0
        for mark in marks:
            with Server(data, *QUICK, *settings) as server:
                if run_id is None:
                    run_id = server.ask("POST", f"/api/v1/jobs/{job}/trigger", {"metadata": metadata})[1]["runId"]

                def at_mark(server=server, mark=mark):
                    found = server.ask("GET", f"/api/v1/jobs/runs/{run_id}")[1]
                    return found["progress"]["done"] >= mark and found
                met += eventually(at_mark, f"{mark} of {total}")["status"] == "running"
                server.kill()
        self.assertGreaterEqual(met, KILLS - 2, "too few kills met a running job")
        with Server(data, *QUICK, *settings) as server:
            found = self.ended(server, run_id)
            self.assertEqual(found["status"], "completed", found)
            self.assertGreaterEqual(found["takeovers"], met - 1, "a kill was no takeover")
            self.assertEqual(found["attempt"], 1, "a worker that dies is no failed attempt")
            self.assertEqual(server.stop(), 0)
        return found

    def check_counts(self, counts):
        """Of a run over all of the week, or of several that wrote it between them: no slice was counted twice, or not at all."""
        self.assertEqual((counts["evaluations"], counts["unusable"]), (self.evaluations, 0))
        # The third day's afternoon replaces a row, unless its morning is in the same slice.
        self.assertTrue(self.snapshots <= counts["snapshots"] <= self.evaluations, counts)

    def wanted_snapshots(self, data):
        """What the ledger says: the last analysis of each tenant, opportunity and day."""
        latest, count = {}, 0
        for tenant in (TENANT, OTHER_TENANT):
            for entry in export(data, "--type", STEP_COMPLETED, "--tenant", tenant):
                event = entry["event"]
                if event["data"]["stepType"] != "risk_analysis":
                    continue
                count += 1
                key = (tenant, event["data"]["opportunityId"], event["timestamp"][:10])
                if key not in latest or latest[key]["timestamp"] <= event["timestamp"]:
                    latest[key] = event
        self.assertEqual(count, self.evaluations)
        return latest

    def test_a_backfill_that_was_killed_writes_what_an_undisturbed_one_does_and_a_second_one_nothing(self):
        undisturbed = self.copy()
        began = time.monotonic()
        done = run_json("jobs", "trigger", "risk-snapshot-backfill", "--metadata", json.dumps(WEEK), "--wait", "--data-dir",
                        undisturbed)
        print(f"{self.evaluations} evaluations in {time.monotonic() - began:.1f} s", flush=True)
        self.check_counts(done["counts"])
        expected = snapshots_of(undisturbed)
        self.assertEqual(len(expected), self.snapshots)

        wanted = self.wanted_snapshots(undisturbed)
        self.assertEqual(len(expected), len(wanted))
        for tenant, opportunity, day, evaluated_at, event, workflow, fields in expected:
            date = str(datetime.date(1970, 1, 1) + datetime.timedelta(day))
            source = wanted[str(uuid.UUID(bytes=tenant)), str(uuid.UUID(bytes=opportunity)), date]
            found = (str(uuid.UUID(bytes=event)), str(uuid.UUID(bytes=workflow)),
                     datetime.datetime.fromtimestamp(evaluated_at / 1000, datetime.timezone.utc))
            self.assertEqual(found, (source["id"], source["data"]["workflowId"],
                                     datetime.datetime.fromisoformat(source["timestamp"])))
            self.assertEqual(json.loads(fields)["riskScore"], source["data"]["result"]["riskScore"])

        killed = self.copy()
        slices = ["--set", f"jobs.backfill_slice_rows={max(20, self.evaluations // 500)}"]
        resumed = self.killed_again_and_again(killed, "risk-snapshot-backfill", WEEK, self.evaluations, *slices)
        self.check_counts(resumed["counts"])
        self.assertEqual(snapshots_of(killed), expected)

        again = run_json("jobs", "trigger", "risk-snapshot-backfill", "--metadata", json.dumps(WEEK), "--wait", "--data-dir",
                         killed)
        self.assertEqual(again["counts"], {"evaluations": self.evaluations, "snapshots": 0, "unusable": 0})
        self.assertEqual(snapshots_of(killed), expected)
        ends = [entry["event"]["data"] for entry in export(killed, "--tenant", SYSTEM_TENANT)
                if entry["event"]["type"].startswith("workflow.job.") and "trigger" not in entry["event"]["type"]]
        self.assertEqual([(end["runId"], end["status"]) for end in ends],
                         [(resumed["runId"], "completed"), (again["runId"], "completed")])

    def test_ranges_that_overlap_and_come_in_any_order_make_the_same_snapshots(self):
        whole, parts = self.copy(), self.copy()
        backfill = ("jobs", "trigger", "risk-snapshot-backfill", "--wait", "--metadata")
        run(*backfill, json.dumps(WEEK), "--data-dir", whole)
        for first, last in (("2026-03-04T12:00:00Z", "2026-03-09"), ("2026-03-02", "2026-03-03"),
                            ("2026-03-03", "2026-03-04T12:00:00Z"), ("2026-03-04", "2026-03-06")):
            run(*backfill, json.dumps({"from": first, "to": last}), "--data-dir", parts)
        self.assertEqual(snapshots_of(parts), snapshots_of(whole))
        only = run_json(*backfill, json.dumps({**WEEK, "tenantId": OTHER_TENANT}), "--data-dir", self.copy())
        self.assertEqual(only["counts"]["snapshots"], OTHER_ROWS)

    def test_snapshots_are_read_by_tenant_and_day_and_health_says_when_they_were_taken(self):
        data = self.copy()
        path = "/api/v1/opportunities/OPP-00010/risk-snapshots"
        with Server(data) as server:
            self.assertIsNone(server.ask("GET", "/health")[1]["lastRiskSnapshotBackfillAt"])
            triggered = server.ask("POST", "/api/v1/jobs/risk-snapshot-backfill/trigger", {"metadata": WEEK})[1]
            ended = self.ended(server, triggered["runId"])
            # What /health says is some seconds old at most.
            eventually(lambda: server.ask("GET", "/health")[1]["lastRiskSnapshotBackfillAt"] == ended["endedAt"], "health")

            def read(query, tenant=TENANT):
                status, answer = server.ask("GET", f"{path}?{query}", headers={"X-Tenant-Id": tenant})
                self.assertEqual(status, 200, answer)
                return answer
            week = read("from=2026-03-01&to=2026-03-31")
            self.assertEqual([snapshot["day"] for snapshot in week["snapshots"]],
                             [str(FIRST_DAY + datetime.timedelta(day)) for day in range(DAYS)])
            self.assertTrue(week["snapshots"][2]["evaluatedAt"].startswith("2026-03-04T15:"), "the day's last one counts")
            self.assertTrue(all(0 <= snapshot["riskScore"] <= 1 for snapshot in week["snapshots"]))
            middle = read("from=2026-03-04&to=2026-03-06")["snapshots"]
            self.assertEqual(middle, week["snapshots"][2:5])
            page = read("from=2026-03-02&to=2026-03-31&limit=3")
            self.assertEqual((page["snapshots"], page["nextFrom"]), (week["snapshots"][:3], "2026-03-05"))
            others = read("from=2026-03-01&to=2026-03-31", OTHER_TENANT)
            self.assertEqual([snapshot["day"] for snapshot in others["snapshots"]], [str(FIRST_DAY)])
            self.assertNotEqual(others["opportunityId"], week["opportunityId"])
            self.assertEqual(read("from=2025-01-01&to=2025-02-01")["snapshots"], [])

            # Counted after the commit that shows the run as ended.
            duration = 'batch_job_duration_seconds_count{batch_job="risk-snapshot-backfill"}'
            eventually(lambda: job_metrics(server)[duration] == 1, "the count")
            metrics = job_metrics(server)
            self.assertEqual(metrics['batch_job_triggers_total{batch_job="risk-snapshot-backfill"}'], 1)
            self.assertEqual(metrics["batch_job_oldest_running_seconds"], 0)

            for query, status, words in (("from=2026-03-09&to=2026-03-02", 400, ("2026-03-09", "2026-03-02")),
                                         ("from=yesterday", 400, ("from", "yesterday")),
                                         ("to=2026-02-30", 400, ("to", "2026-02-30")),
                                         ("limit=0", 400, ("limit", "1..1000")), ("since=2026-03-01", 400, ("since",))):
                got, answer = server.ask("GET", f"{path}?{query}")
                self.assertEqual(got, status, answer)
                for word in words:
                    self.assertIn(word, answer["error"]["message"])

    def outcomes(self, data):
        found = []
        for tenant in (TENANT, OTHER_TENANT):
            for entry in export(data, "--type", OUTCOME, "--tenant", tenant):
                event = entry["event"]
                self.assertEqual((event["tenantId"], event["data"]["tenantId"]), (tenant, tenant))
                found.append((tenant, event["data"]["externalId"], event["data"]["closeDate"], event["data"]["outcome"],
                              event["data"]["amount"]))
        return collections.Counter(found)

    def test_each_outcome_is_published_once_also_by_a_process_that_is_killed(self):
        data = self.copy()
        wanted = collections.Counter()
        for tenant, rows, round_ in ((TENANT, ROWS, DAYS - 1), (OTHER_TENANT, OTHER_ROWS, 99)):
            for row in (row_of(i, round_) for i in range(rows)):
                if row["state"] != "open":
                    wanted[tenant, row["external_id"], row["close_date"], row["state"],
                           float(row["amount"]) if row["amount"] else None] += 1
        closed = len(wanted)
        self.assertGreater(closed, 2000)
        slices = ["--set", f"jobs.outcome_slice_rows={max(2, closed // 300)}"]
        done = self.killed_again_and_again(data, "outcome-sync", {}, closed, *slices)
        self.assertEqual(done["counts"], {"opportunities": closed, "published": closed, "withoutCloseDate": 0})
        self.assertEqual(self.outcomes(data), wanted)

        again = run_json("jobs", "trigger", "outcome-sync", "--wait", "--data-dir", data)
        self.assertEqual((again["counts"]["opportunities"], again["counts"]["published"]), (closed, 0))

        # Reopened, and closed on another day: one more. On the same day, or still open: none.
        file = data.parent / "changed.csv"
        first, second, third = (row_of(number, DAYS - 1) for number in (2, 4, 6))
        for changes in ({"state": "open", "stage": "open", "close_date": ""},
                        {"state": "lost", "stage": "lost", "close_date": "2026-01-15"}):
            write_rows(file, [{**first, **changes}, {**second, "amount": "7"}, {**third, "state": "lost", "stage": "lost"}])
            run("analyze", file, "--data-dir", data, "--quiet")
            done = run_json("jobs", "trigger", "outcome-sync", "--wait", "--data-dir", data)
            expected = 0 if changes["state"] == "open" else 1
            self.assertEqual(done["counts"]["published"], expected, done)
            self.assertEqual(done["counts"]["opportunities"], closed - 1 + expected)
        wanted[TENANT, first["external_id"], "2026-01-15", "lost",
               float(first["amount"]) if first["amount"] else None] += 1
        self.assertEqual(self.outcomes(data), wanted)

    def slow_backfill(self, server):
        """A run that has begun and will not end soon."""
        run_id = server.ask("POST", "/api/v1/jobs/risk-snapshot-backfill/trigger", {"metadata": WEEK})[1]["runId"]

        def begun():
            found = server.ask("GET", f"/api/v1/jobs/runs/{run_id}")[1]
            return found["status"] == "running" and found["progress"]["done"] > 0
        eventually(begun, "progress")
        return run_id

    def test_a_run_that_is_cancelled_does_nothing_any_more(self):
        data = self.copy()
        with Server(data, *QUICK, "--set", "jobs.backfill_slice_rows=1", "--set", "jobs.workers=1") as server:
            run_id = self.slow_backfill(server)
            status, cancelled = server.ask("POST", f"/api/v1/jobs/runs/{run_id}/cancel", {"reason": "wrong week"})
            self.assertEqual((status, cancelled["status"]), (200, "cancelled"))
            self.assertIn("wrong week", cancelled["error"])
            written = len(snapshots_of(data))
            self.assertEqual(written, cancelled["counts"]["snapshots"])
            # The one worker is free as soon as it has let go of that run.
            other = server.ask("POST", "/api/v1/jobs/outcome-sync/trigger", {})[1]["runId"]
            self.assertEqual(self.ended(server, other)["status"], "completed")
            self.assertEqual(len(snapshots_of(data)), written)
            self.assertEqual(server.ask("GET", f"/api/v1/jobs/runs/{run_id}")[1],
                             {key: value for key, value in cancelled.items() if key != "note"})
            self.assertEqual(server.ask("POST", f"/api/v1/jobs/runs/{run_id}/cancel", {"reason": "again"})[0], 409)
            self.assertEqual(server.stop(), 0)
        ends = [entry["event"] for entry in export(data, "--tenant", SYSTEM_TENANT, "--type", "workflow.job.failed")]
        self.assertEqual([(end["data"]["runId"], end["metadata"]["causationId"]) for end in ends],
                         [(run_id, cancelled["triggerId"])])
        self.assertIn("wrong week", ends[0]["data"]["error"])

    def test_a_run_ends_when_its_time_is_over(self):
        data = self.copy()
        jobs = data.parent / "jobs.yaml"
        jobs.write_text("jobs:\n  - {job: risk-snapshot-backfill, timeout: 1s}\n")
        with Server(data, *QUICK, "--set", "jobs.backfill_slice_rows=1", "--set", f"jobs.definitions={jobs}") as server:
            found = self.ended(server, self.slow_backfill(server))
            self.assertEqual(found["status"], "failed")
            # Whoever notices first, its worker or the scheduler.
            self.assertRegex(found["error"], "timeout: not done by|did not end within 1s")
            self.assertEqual(len(snapshots_of(data)), found["counts"]["snapshots"])
        # Given its time, another one does the rest, and only that.
        done = run_json("jobs", "trigger", "risk-snapshot-backfill", "--metadata", json.dumps(WEEK), "--wait", "--data-dir", data)
        self.check_counts({**done["counts"], "snapshots": done["counts"]["snapshots"] + found["counts"]["snapshots"]})
        self.assertEqual(len(snapshots_of(data)), self.snapshots)

    def test_an_attempt_that_fails_is_tried_again_as_often_as_the_job_says(self):
        data = self.copy()
        jobs = data.parent / "jobs.yaml"
        jobs.write_text("jobs:\n  - {job: risk-snapshot-backfill, attemptsMax: 3, retryFirst: 10ms}\n")
        settings = [*QUICK, "--set", "jobs.backfill_slice_rows=1", "--set", f"jobs.definitions={jobs}"]
        with Server(data, *settings) as server:
            run_id = self.slow_backfill(server)
            server.kill()
        with contextlib.closing(sqlite3.connect(data / "wfo.db")) as connection, connection:
            self.assertEqual(connection.execute("UPDATE job_runs SET checkpoint = '{}'").rowcount, 1)
        with Server(data, *settings) as server:
            found = self.ended(server, run_id)
            self.assertEqual((found["status"], found["attempt"]), ("failed", 3), found)
            self.assertIn("checkpoint {}", found["error"])
            failures = 'batch_job_attempts_failed_total{batch_job="risk-snapshot-backfill"}'
            eventually(lambda: job_metrics(server)[failures] == 3, "the count")


class External(unittest.TestCase):
    """A job whose worker only has HTTP."""

    def setUp(self):
        folder = self.enterContext(temporary_folder())
        self.data = folder / "data"
        (folder / "jobs.yaml").write_text(EXTERNAL)
        self.clock = WallClock(folder, "2026-03-01T01:00:00Z")
        self.server = self.enterContext(Server(self.data, "--set", f"jobs.definitions={folder / 'jobs.yaml'}",
                                               env=self.clock.environment))

    def trigger(self, job="crm-export", **metadata):
        status, answer = self.server.ask("POST", f"/api/v1/jobs/{job}/trigger", {"metadata": metadata})
        self.assertEqual(status, 202, answer)
        return answer

    def found(self, triggered):
        return self.server.ask("GET", f"/api/v1/jobs/runs/{triggered['runId']}")[1]

    def hand_in(self, event, status=202):
        got, answer = self.server.ask("POST", "/api/v1/events", event, {"X-Tenant-Id": event["tenantId"]})
        self.assertEqual(got, status, answer)

    def closed(self, triggered):
        return eventually(lambda: self.found(triggered).get("endedAt") and self.found(triggered), "the run's end")

    def test_the_workers_answer_closes_the_run_that_it_names(self):
        first, second, third = (self.trigger(region=region) for region in ("emea", "apac", "amer"))
        listed = self.server.ask("GET", "/api/v1/jobs/runs?job=crm-export&status=pending")[1]["runs"]
        self.assertEqual([run["metadata"] for run in listed], [{"region": "amer"}, {"region": "apac"}, {"region": "emea"}])
        # By its own id, by the trigger's, and the oldest open one.
        self.hand_in(completed("crm-export", runId=second["runId"], counts={"rows": 9735}))
        found = self.closed(second)
        self.assertEqual((found["status"], found["counts"]), ("completed", {"rows": 9735}))
        self.hand_in(failed("crm-export", "the CRM is away", trigger=third["triggerId"]))
        found = self.closed(third)
        self.assertEqual((found["status"], found["error"]), ("failed", "the CRM is away"))
        self.hand_in(completed("crm-export"))
        self.assertEqual(self.closed(first)["status"], "completed")
        # A second answer changes nothing, nor one that names a run that nobody knows, or comes from a tenant.
        fourth = self.trigger()
        before = self.found(second)
        self.hand_in(failed("crm-export", "no", runId=second["runId"]))
        self.hand_in(completed("crm-export", runId=str(uuid.uuid4())))
        self.hand_in(completed("crm-export", tenant=TENANT, runId=fourth["runId"]))
        eventually(lambda: job_metrics(self.server).get('job_answers_total{outcome="unknown"}', 0) >= 1, "the answers")
        self.hand_in(completed("crm-export", runId=self.trigger()["runId"]))
        self.assertEqual((self.found(second), self.found(fourth)["status"]), (before, "pending"))
        kinds = collections.Counter(entry["event"]["type"] for entry in export(self.data, "--tenant", SYSTEM_TENANT))
        self.assertEqual(kinds["workflow.job.trigger"], 5)

    def test_a_run_that_nobody_answers_is_closed_by_its_start_timeout(self):
        found = self.closed(self.trigger("impatient"))
        self.assertEqual(found["status"], "failed")
        self.assertIn("1s", found["error"])
        eventually(lambda: job_metrics(self.server).get('job_runs_closed_total{why="start_timeout"}') == 1, "the count")
        # An answer that comes too late changes nothing.
        self.hand_in(completed("impatient", runId=found["runId"]))
        eventually(lambda: job_metrics(self.server).get('job_answers_total{outcome="late"}') == 1, "the answer")
        self.assertEqual(self.found(found), found)

    def test_a_failure_pauses_the_schedule_that_wants_that_and_a_cancel_does_not(self):
        definition = {"job": "crm-export", "cron": "* * * * * *", "pauseOnFailure": True}
        schedule = "/api/v1/jobs/schedules/every-second"
        self.assertEqual(self.server.ask("PUT", schedule, definition)[0], 201)

        def open_run():
            runs = self.server.ask("GET", "/api/v1/jobs/runs?schedule=every-second&status=pending")[1]["runs"]
            return runs and runs[0]
        first = eventually(open_run, "a run")
        self.assertEqual(self.server.ask("POST", f"/api/v1/jobs/runs/{first['runId']}/cancel", {"reason": "x"})[0], 200)
        second = eventually(open_run, "the next run")
        self.assertFalse(self.server.ask("GET", schedule)[1]["paused"])
        self.hand_in(failed("crm-export", "the CRM is away", runId=second["runId"]))
        paused = eventually(lambda: self.server.ask("GET", schedule)[1]["paused"] and self.server.ask("GET", schedule)[1],
                            "the pause")
        self.assertIn(second["runId"], paused["pauseNote"])
        self.assertIn("the CRM is away", paused["pauseNote"])
        eventually(lambda: self.server.ask("GET", f"{schedule}/fires")[1]["fires"][0]["cause"] == "paused", "a fire that is skipped")
        self.clock.go_to("2026-03-01T01:05:00Z")
        self.assertEqual(self.server.ask("POST", f"{schedule}/resume", {})[0], 200)
        self.assertNotIn(eventually(open_run, "a run again")["runId"], (first["runId"], second["runId"]))
        # Old news does not pause it again.
        self.hand_in(failed("crm-export", "the CRM is away", runId=second["runId"]))
        eventually(lambda: job_metrics(self.server).get('job_answers_total{outcome="matched"}', 0) >= 2, "the answer")
        self.assertFalse(self.server.ask("GET", schedule)[1]["paused"])

    def test_fires_and_their_lateness_are_counted(self):
        definition = {"job": "crm-export", "cron": "* * * * * *", "overlap": "skip"}
        self.server.ask("PUT", "/api/v1/jobs/schedules/every-second", definition)
        eventually(lambda: job_metrics(self.server).get('job_fires_total{cause="overlap",outcome="skipped"}', 0) >= 2, "fires")
        metrics = job_metrics(self.server)
        self.assertEqual(metrics['job_fires_total{cause="due",outcome="triggered"}'], 1)
        self.assertEqual(metrics["job_fire_lateness_seconds_count"], 1)
        self.assertLess(metrics["job_fire_lateness_seconds_sum"], 60)
        self.assertEqual(metrics['batch_job_triggers_total{batch_job="crm-export"}'], 1)


if __name__ == "__main__":
    unittest.main()
