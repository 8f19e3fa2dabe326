"""Batch jobs over RabbitMQ, with a worker in Node that has a queue of its own, triggers that others publish, and replicas that die
at work: how runs end, judged by our tables and by what a plain consumer saw."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from collections import Counter
from pathlib import Path

import invariants
from fires import JOB_COMPLETED, JOB_FAILED, SYSTEM, TRIGGER, parse_ms
from installation import Installation, wait_until
from neighbours import JobWorker, check, publish
from place import Place
from triggers import TENANTS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from servers import Servers  # noqa: E402
from wfo import BINARY  # noqa: E402

QUEUE = "bi_batch_jobs"
OUTCOME = "opportunity.outcome.recorded"
OUTCOMES = 3_000
JOBS = [{"job": "crm-export"}, {"job": "nobodys", "startTimeout": "2s"}]


def foreign(type_, caused_by=None, **data):
    """An event as other services of the platform publish it."""
    event = {"id": str(uuid.uuid4()), "type": type_, "version": "1.0", "timestamp": "2026-03-02T09:30:00.000Z", "tenantId": SYSTEM,
             "source": {"service": "planner", "instance": "p-1"}, "data": data}
    return {**event, "metadata": {"causationId": caused_by}} if caused_by else event


def foreign_trigger(job, **changes):
    """`changes`: members of data; None: left out."""
    data = {"job": job, "metadata": {}, "triggeredBy": "manual", "timestamp": "2026-03-02T09:30:00.000Z", **changes}
    return foreign(TRIGGER, **{key: value for key, value in data.items() if value is not None})


class ExternalJobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = Servers()
        cls.servers.__enter__()
        cls.addClassCleanup(cls.servers.__exit__)

    def setUp(self):
        name = self.id().rpartition(".")[2].removeprefix("test_")
        self.folder = Path(tempfile.mkdtemp(prefix="wfo-external-jobs-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.place = Place(self.servers, name[:50])
        self.installation = self.enterContext(Installation(self.place, self.folder))
        self.installation.observe()
        self.jobs = self.folder / "jobs.yaml"
        self.jobs.write_text(json.dumps({"jobs": JOBS}), encoding="utf-8")

    def start(self, replicas=1, **more):
        started = [self.installation.replica(f"replica-{number}", **more) for number in range(replicas)]
        for replica in started:  # also for the verbs, which find the same database, but look at the configuration themselves
            replica.environment["WFO_JOBS_DEFINITIONS"] = str(self.jobs)
        self.installation.start(*started)
        return started

    def worker(self, jobs=None):
        return self.enterContext(JobWorker(self.place.bus_url, self.folder, jobs or {"crm-export": 0}))

    def wfo(self, *arguments, code=0):
        replica = next(replica for replica in self.installation.replicas if replica.alive())
        done = subprocess.run([BINARY, *map(str, arguments), "--data-dir", str(replica.data), "--output", "json"],
                              capture_output=True, text=True, timeout=120, env={**os.environ, **replica.environment}, check=False)
        self.assertEqual(done.returncode, code, f"wfo {arguments}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def trigger(self, job, **metadata):
        """The run's id."""
        return self.wfo("jobs", "trigger", job, "--metadata", json.dumps(metadata))["runId"]

    def run_of(self, id_):
        return self.wfo("jobs", "run", id_)

    def ended(self, id_):
        """The run, once it is closed."""
        def found():
            if not self.place.query(f"SELECT 1 FROM wfo.job_runs WHERE id = '{id_}' AND status > 2"):
                return None
            return self.run_of(id_)
        try:
            return wait_until(found, f"the end of run {id_}")
        except AssertionError as error:
            letters = self.place.query("SELECT queue, type, reason FROM wfo.dead_letters")
            self.fail(f"{error}; dead letters: {letters}\n{self.installation.tails()}")

    def publish(self, *messages):
        publish(self.place.bus_url, self.folder, [message if "event" in message or "base64" in message else
                                                  {"routingKey": message["type"], "event": message} for message in messages])

    def seen(self, type_, **data):
        """Events of this type that the observer saw, each once, whose data have these members."""
        found = []
        for message in invariants.first_occurrences(self.installation.observer.messages()):
            if message["type"] == type_ and invariants.is_ours(message):
                event = json.loads(message["body"])
                if all(event["data"].get(key) == value for key, value in data.items()):
                    found.append(event)
        return found

    def await_seen(self, type_, **data):
        event, = wait_until(lambda: self.seen(type_, **data), f"{type_} with {data}")
        return event

    def assert_queue_is_empty(self):
        wait_until(lambda: self.place.queues()[QUEUE] == 0, f"{QUEUE} is empty")

    def assert_valid(self):
        verdict = check(self.installation.observer)
        self.assertEqual((verdict["invalid"], verdict["unknown"]), (0, 0), verdict)

    def assert_nothing_aside(self):
        self.assertEqual(self.place.query("SELECT queue, type, reason FROM wfo.dead_letters"), [])
        self.assertEqual(self.place.query("SELECT reason FROM wfo_ledger.quarantine"), [])

    # --- an external job

    def test_what_its_worker_says_closes_the_run(self):
        self.start()
        self.worker()
        for how in ("run", "cause"):
            with self.subTest(how):
                counts = {"read": 7, "written": len(how)}
                id_ = self.trigger("crm-export", answer=how, counts=counts)
                run = self.ended(id_)
                self.assertEqual((run["status"], run["counts"], run["triggeredBy"]), ("completed", counts, "manual"))
                trigger = self.await_seen(TRIGGER, runId=id_)
                self.assertEqual(trigger["data"]["metadata"], {"answer": how, "counts": counts})

        # Who says neither means the run that is open longest.
        oldest = self.trigger("crm-export", answer="never")
        self.assert_queue_is_empty()  # acknowledged, though the run is open and stays so
        self.assertEqual(self.run_of(oldest)["status"], "pending")
        newer = self.trigger("crm-export", answer="job", counts={"rows": 11})
        run = self.ended(oldest)
        self.assertEqual((run["status"], run["counts"]), ("completed", {"rows": 11}))
        self.assertEqual(self.run_of(newer)["status"], "pending")

        failing = self.trigger("crm-export", fail="the CRM is away", counts={"read": 2})
        run = self.ended(failing)
        self.assertEqual((run["status"], run["error"], run["counts"]), ("failed", "the CRM is away", {"read": 2}))

        # A run that is cancelled stays so, whatever its worker says later.
        cancelled = self.wfo("jobs", "cancel", newer, "--reason", "not needed")
        self.assertEqual(cancelled["status"], "cancelled")
        failed = self.await_seen(JOB_FAILED, runId=newer)
        self.assertEqual(failed["metadata"]["causationId"], self.await_seen(TRIGGER, runId=newer)["id"])
        self.assertIn("not needed", failed["data"]["error"])
        self.publish(foreign(JOB_COMPLETED, job="crm-export", status="completed", completedAt="2026-03-02T09:31:00.000Z", runId=newer))
        self.ended(self.trigger("crm-export"))  # what was said before that has been heard
        self.assertEqual(self.run_of(newer)["status"], "cancelled")
        # We say what we did ourselves, and not what the worker said.
        self.assertEqual((len(self.seen(JOB_FAILED)), len(self.seen(JOB_COMPLETED))), (1, 0))
        self.assert_valid()
        self.assert_nothing_aside()

    def test_a_run_that_nobody_takes_is_closed_after_its_start_timeout(self):
        self.start(replicas=2)
        self.worker()
        id_ = self.trigger("nobodys", region="emea")
        self.assert_queue_is_empty()
        run = self.ended(id_)
        self.assertEqual(run["status"], "failed")
        self.assertRegex(run["error"], r"nobody said that it ended within 2s")
        lasted_ms = parse_ms(run["endedAt"]) - parse_ms(run["createdAt"])
        self.assertTrue(2_000 <= lasted_ms < 15_000, f"closed after {lasted_ms} ms")
        failed = self.await_seen(JOB_FAILED, runId=id_)
        self.assertEqual((failed["data"]["error"], failed["data"]["job"], failed["source"]), (run["error"], "nobodys", "workflow-orchestrator"))
        trigger = self.await_seen(TRIGGER, runId=id_)
        self.assertEqual(failed["metadata"], {"correlationId": trigger["metadata"]["correlationId"], "causationId": trigger["id"]})

        # Its worker wakes up.
        self.publish(foreign(JOB_COMPLETED, trigger["id"], job="nobodys", status="completed", completedAt="2026-03-02T09:31:00.000Z"))
        self.ended(self.trigger("crm-export"))
        self.assertEqual(self.run_of(id_)["status"], "failed")
        self.assertEqual(len(self.seen(JOB_FAILED)), 1)
        self.assert_valid()
        self.assert_nothing_aside()

    def test_cancel_other_closes_the_run_whose_place_the_next_fire_takes(self):
        self.start()
        self.worker()
        file = self.folder / "often.json"
        file.write_text(json.dumps({"name": "often", "job": "crm-export", "cron": "* * * * * *", "overlap": "cancel_other",
                                    "metadata": {"answer": "never"}}), encoding="utf-8")
        self.wfo("jobs", "put", file)

        def cancelled():
            return self.wfo("jobs", "runs", "--schedule", "often", "--status", "cancelled")["runs"]
        wait_until(lambda: len(cancelled()) >= 2, "two runs are cancelled")
        self.wfo("jobs", "delete", "often")
        runs = {run["runId"]: run for run in self.wfo("jobs", "runs", "--schedule", "often")["runs"]}
        still_open = [id_ for id_, run in runs.items() if run["status"] == "pending"]
        self.assertEqual(len(still_open), 1, runs)
        in_order = sorted(runs.values(), key=lambda run: run["scheduledFor"])
        self.assertEqual(in_order[-1]["runId"], still_open[0])
        for run, following in zip(in_order, in_order[1:]):
            self.assertEqual(run["status"], "cancelled")
            self.assertRegex(run["error"], f"overlap policy.*'often'.*{re.escape(following['scheduledFor'])}")
            failed = self.await_seen(JOB_FAILED, runId=run["runId"])
            self.assertEqual(failed["data"]["error"], run["error"])
            self.assertEqual(run["endedAt"], following["createdAt"], "one transaction does both")
        self.publish(foreign(JOB_COMPLETED, job="crm-export", status="completed", completedAt="2026-03-02T09:31:00.000Z",
                             runId=in_order[0]["runId"]),
                     foreign(JOB_COMPLETED, job="crm-export", status="completed", completedAt="2026-03-02T09:31:00.000Z",
                             runId=still_open[0]))
        self.assertEqual(self.ended(still_open[0])["status"], "completed")
        self.assertEqual(self.run_of(in_order[0]["runId"])["status"], "cancelled")
        self.assert_valid()
        self.assert_nothing_aside()

    def test_a_failure_pauses_the_schedule_that_wants_it(self):
        self.start(replicas=2)
        self.worker()
        schedules = {"careful": {"pauseOnFailure": True}, "careless": {}}
        for name, more in schedules.items():
            file = self.folder / f"{name}.json"
            file.write_text(json.dumps({"name": name, "job": "crm-export", "cron": "* * * * * *", "metadata": {"fail": "the CRM is away"}, **more}),
                            encoding="utf-8")
            self.wfo("jobs", "put", file)
        careful = wait_until(lambda: (lambda shown: shown["paused"] and shown)(self.wfo("jobs", "show", "careful")), "a pause")
        run, = self.wfo("jobs", "runs", "--schedule", "careful")["runs"]
        self.assertEqual((run["status"], run["error"]), ("failed", "the CRM is away"))
        self.assertRegex(careful["pauseNote"], f"{run['runId']} failed: the CRM is away")

        def skipped():
            return [fire for fire in self.wfo("jobs", "fires", "careful")["fires"] if fire["cause"] == "paused"]
        wait_until(lambda: skipped() and skipped()[0]["count"] >= 2, "fires are skipped")
        self.assertEqual(len(skipped()), 1, "they share a row")
        self.assertEqual(len(self.wfo("jobs", "runs", "--schedule", "careful")["runs"]), 1)
        wait_until(lambda: len(self.wfo("jobs", "runs", "--schedule", "careless", "--status", "failed")["runs"]) >= 3, "the other one goes on")
        # Somebody looks after it, and it fails again.
        self.wfo("jobs", "resume", "careful")
        wait_until(lambda: len(self.wfo("jobs", "runs", "--schedule", "careful")["runs"]) == 2, "it goes on")
        wait_until(lambda: self.wfo("jobs", "show", "careful")["paused"], "another pause")
        for name in schedules:
            self.wfo("jobs", "delete", name)
        self.assert_valid()
        self.assert_nothing_aside()

    # --- triggers of others

    def test_triggers_of_others_are_recorded_and_worked(self):
        self.start()
        mine = str(uuid.uuid4())
        builtin, external, named, unknown = (foreign_trigger("outcome-sync"), foreign_trigger("crm-export", metadata={"answer": "never"}),
                                             foreign_trigger("outcome-sync", runId=mine), foreign_trigger("coffee"))
        unusable = foreign_trigger("risk-snapshot-backfill", metadata={"from": "2026-02-01", "to": "2026-01-01"})
        self.publish(builtin, external, named, unknown, unusable)
        self.publish(builtin, external, named, unknown, unusable)  # at least once
        run = self.ended(builtin["id"])  # it names no run, so it is the run's name
        self.assertEqual((run["status"], run["job"], run["attempt"]), ("completed", "outcome-sync", 1))
        completed = self.await_seen(JOB_COMPLETED, runId=builtin["id"])
        self.assertEqual((completed["source"], completed["metadata"]["causationId"]), ("risk-analytics", builtin["id"]))
        self.assertEqual(completed["data"]["counts"], run["counts"])
        self.assertEqual(self.ended(mine)["status"], "completed")
        # Its worker can be sure that it is known only now: with triggers of ours it is from the beginning.
        wait_until(lambda: self.place.query(f"SELECT 1 FROM wfo.job_runs WHERE id = '{external['id']}'"), "it is recorded")
        self.assertEqual(self.run_of(external["id"])["status"], "pending")
        self.publish(foreign(JOB_COMPLETED, external["id"], job="crm-export", status="completed", completedAt="2026-03-02T09:31:00.000Z"))
        self.assertEqual(self.ended(external["id"])["status"], "completed")
        for id_, says in ((unknown["id"], r"unknown job.*coffee"), (unusable["id"], r"from.*2026-02-01")):
            run = self.ended(id_)
            self.assertEqual(run["status"], "failed")
            self.assertRegex(run["error"], says)
            self.assertEqual(self.await_seen(JOB_FAILED, runId=id_)["data"]["error"], run["error"])
        self.assertEqual(self.place.query("SELECT count(*) FROM wfo.job_runs"), [["5"]])
        self.assertEqual((len(self.seen(JOB_COMPLETED)), len(self.seen(JOB_FAILED))), (2, 2))
        self.assert_queue_is_empty()
        self.assert_valid()
        self.assert_nothing_aside()

    def test_what_no_trigger_is_becomes_a_dead_letter_and_what_is_behind_it_goes_on(self):
        self.start()

        def raw(body, key=TRIGGER):
            return {"routingKey": key, "queue": QUEUE, "base64": base64.b64encode(body.encode()).decode()}
        known = foreign_trigger("crm-export", metadata={"answer": "never"})
        self.publish(known)
        wait_until(lambda: self.place.query(f"SELECT 1 FROM wfo.job_runs WHERE id = '{known['id']}'"), "it is recorded")
        cases = [
            ("not JSON", "hello", r"not JSON"),
            ("truncated", json.dumps(foreign_trigger("crm-export"))[:-5], r"not JSON"),
            ("metadata is no object", json.dumps(foreign_trigger("crm-export", metadata=["a"])), r"/data/metadata.*object|object.*/data/metadata"),
            ("no job", json.dumps(foreign_trigger(None)), r"job"),
            ("job is a number", json.dumps(foreign_trigger(5)), r"/data/job"),
            ("long job", json.dumps(foreign_trigger("x" * 101)), r"101 bytes"),
            ("nobody triggered it", json.dumps(foreign_trigger("crm-export", triggeredBy="cron")), r"triggeredBy"),
            ("run is no uuid", json.dumps(foreign_trigger("crm-export", runId="17")), r"runId"),
            ("another job's run", json.dumps(foreign_trigger("outcome-sync", runId=known["id"])), r"crm-export"),
            ("another type", json.dumps(foreign(JOB_COMPLETED, job="crm-export", status="completed", completedAt="2026-03-02T09:31:00.000Z")),
             r"workflow\.job\.completed"),
            ("forged", json.dumps({**known, "timestamp": "2026-03-02T09:30:00.001Z"}), re.escape(known["id"])),
        ]
        self.publish(*[raw(body) for _, body, _ in cases])
        behind = foreign_trigger("outcome-sync")
        self.publish(behind)
        self.assertEqual(self.ended(behind["id"])["status"], "completed")
        self.assert_queue_is_empty()
        letters = {sha256: reason for reason, sha256 in self.place.query(
            f"SELECT reason, encode(sha256(bytes), 'hex') FROM wfo.dead_letters WHERE queue = '{QUEUE}'")}
        for name, body, reason in cases:
            with self.subTest(name):
                self.assertRegex(letters.get(invariants.digest(body.encode()), "no dead letter"), reason)
        self.assertEqual(len(letters), len(cases), letters)
        self.assertEqual(self.place.query("SELECT count(*) FROM wfo.job_runs"), [["2"]])
        self.assertEqual(self.run_of(known["id"])["status"], "pending")

    # --- a job of ours

    def store_opportunities(self, replica):
        """Of two tenants, all closed but each tenth. Returns {(tenant, external id)} of those that are."""
        closed = set()
        for tenant in TENANTS[:2]:
            for begin in range(0, OUTCOMES // 2, 1000):
                rows = []
                for number in range(begin, min(begin + 1000, OUTCOMES // 2)):
                    row = {"externalId": f"OPP-{number:05}", "state": "open", "amount": number}
                    if number % 10:
                        row |= {"state": "won" if number % 2 else "lost", "closeOn": f"2026-02-{1 + number % 28:02}"}
                        closed.add((tenant, row["externalId"]))
                    rows.append(row)
                status, answer = replica.ask("POST", "/api/v1/opportunities", {"opportunities": rows}, {"X-Tenant-Id": tenant})
                self.assertEqual((status, answer.get("stored")), (200, len(rows)), answer)
        return closed

    def test_a_dead_replicas_run_is_taken_over_and_each_outcome_is_published_once(self):
        replicas = self.start(replicas=3, jobs__heartbeat_timeout="2s", jobs__outcome_slice_rows=5)
        closed = self.store_opportunities(replicas[0])
        id_ = self.trigger("outcome-sync")
        killed = []
        began = time.monotonic()
        for least in (OUTCOMES // 6, OUTCOMES // 2):
            def at_work():
                row = self.place.query(f"SELECT status, holder, progress_done FROM wfo.job_runs WHERE id = '{id_}'")[0]
                self.assertIn(row[0], "012", f"it has ended before anybody was killed: {row}")
                alive = {replica.pid: replica for replica in replicas if replica.alive()}
                worker = alive.get(int(row[1].split(":")[1])) if row[1] else None
                return worker if worker and int(row[2]) >= least else None
            victim = wait_until(at_work, f"somebody has done {least}", every_s=0.01)
            victim.kill()
            self.assert_queue_is_empty()  # the trigger was acknowledged when it was recorded
            killed.append(victim.name)
        self.assertEqual(len(set(killed)), 2)
        run = self.ended(id_)
        took_s = time.monotonic() - began
        self.assertEqual((run["status"], run["attempt"]), ("completed", 1))
        self.assertGreaterEqual(run["takeovers"], 2)
        self.assertEqual(run["counts"]["published"], len(closed))
        completed = self.await_seen(JOB_COMPLETED, runId=id_)
        self.assertEqual(completed["data"]["counts"], run["counts"])

        # Again: there is nothing new.
        again = self.ended(self.trigger("outcome-sync"))
        self.assertEqual((again["status"], again["counts"]["published"]), ("completed", 0))
        wait_until(lambda: self.place.query("SELECT count(*) FROM wfo.outbox") == [["0"]], "all is published")
        wait_until(lambda: len(self.seen(OUTCOME)) >= len(closed), "the observer has seen all")
        seen = Counter((event["tenantId"], event["data"]["externalId"]) for event in self.seen(OUTCOME))
        self.assertEqual(seen, Counter(dict.fromkeys(closed, 1)))
        for event in self.seen(OUTCOME):
            number = int(event["data"]["externalId"].removeprefix("OPP-"))
            self.assertEqual((event["data"]["outcome"], event["data"]["closeDate"], event["data"]["amount"], event["data"]["tenantId"]),
                             ("won" if number % 2 else "lost", f"2026-02-{1 + number % 28:02}", number, event["tenantId"]))
        print(f"\n{len(closed)} outcomes in {took_s:.1f} s, {killed} killed at work", file=sys.stderr, flush=True)
        self.assert_valid()
        self.assert_nothing_aside()


if __name__ == "__main__":
    unittest.main(verbosity=2)
