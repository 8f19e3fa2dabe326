"""Three replicas with one set of schedules and clocks that are apart: every expected fire is triggered, once, or its record says why
not; judged by what a plain consumer saw and what PostgreSQL holds (fires.py), while replicas are killed and clocks are set.

Environment: WFO_FAULT_SEED, what chance begins with (printed); WFO_FAULT_LOGS, as in faults_test.py; WFO_SCHEDULE_S, how long
replicas are killed (15).
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path

import fires
import invariants
from clocks import Clock, compile_library
from fires import Record, Run, Wanted
from installation import Installation, wait_until
from neighbours import JobWorker, check
from place import Place

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from servers import Servers  # noqa: E402
from wfo import BINARY  # noqa: E402

SEED = int(os.environ.get("WFO_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KILLING_S = float(os.environ.get("WFO_SCHEDULE_S", "15"))
APART_S = (0, 2, -2)
OUTAGE_S = 16  # more than a window of 0 s forgives (10), from the fastest clock to the slowest
DAY_S = 86_400
JOBS = {"quick": 0, "slow": 2_500}  # milliseconds


def every(seconds):
    return lambda second: second % 60 % seconds == 0


def schedules():
    """(definition, what it means)"""
    for name, job, cron, overlap, is_fire, more in (
            ("every-second", "quick", "* * * * * *", "allow_all", every(1), {}),
            ("every-2-seconds", "quick", "*/2 * * * * *", "allow_all", every(2), {}),
            # Each second that several expressions name is one fire.
            ("several", "quick", ["*/3 * * * * *", "*/5 * * * * *", "7,19,41 * * * * *"], "allow_all",
             lambda second: second % 60 % 3 == 0 or second % 60 % 5 == 0 or second % 60 in (7, 19, 41), {}),
            ("elsewhere", "quick", "*/4 * * * * *", "allow_all", every(4), {"timeZone": "Asia/Kathmandu"}),
            ("jittered", "quick", "*/2 * * * * *", "allow_all", every(2), {"jitter": "3s"}),
            ("every-minute", "quick", "* * * * *", "skip", every(60), {}),
            ("skips", "slow", "* * * * * *", "skip", every(1), {}),
            ("buffers-one", "slow", "* * * * * *", "buffer_one", every(1), {}),
            ("buffers-all", "slow", "*/20 * * * * *", "buffer_all", every(20), {}),
            ("cancels", "slow", "*/2 * * * * *", "cancel_other", every(2), {}),
            ("no-window", "quick", "*/2 * * * * *", "allow_all", every(2), {"catchUpWindow": "0s"})):
        definition = {"name": name, "job": job, "cron": cron, "overlap": overlap, "metadata": {"schedule": name}, **more}
        yield definition, Wanted(name, job, overlap, is_fire, window_is_0="catchUpWindow" in more)


class Schedules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"\nWFO_FAULT_SEED={SEED}", file=sys.stderr, flush=True)
        cls.library_folder = tempfile.TemporaryDirectory(prefix="wfo-clock-")
        cls.addClassCleanup(cls.library_folder.cleanup)
        cls.library = compile_library(cls.library_folder.name)
        cls.servers = Servers()
        cls.servers.__enter__()
        cls.addClassCleanup(cls.servers.__exit__)

    def setUp(self):
        name = self.id().rpartition(".")[2].removeprefix("test_")
        self.chance = random.Random(f"{SEED} {name}")
        self.folder = Path(tempfile.mkdtemp(prefix="wfo-schedules-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.place = Place(self.servers, name[:50])
        self.installation = self.enterContext(Installation(self.place, self.folder))
        self.installation.observe()
        self.began = time.monotonic()
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def write_jobs(self, file, definitions):
        """YAML is a superset of JSON."""
        path = self.folder / file
        path.write_text(json.dumps({"jobs": [{"job": name} for name in JOBS], "schedules": definitions}), encoding="utf-8")
        return path

    def replica(self, name, jobs, ahead_s):
        replica = self.installation.replica(name, jobs__definitions=jobs)
        replica.clock = Clock(self.library, self.folder / f"{name}.clock", ahead_s)
        replica.environment |= replica.clock.environment
        return replica

    # --- what is known from outside

    def records(self, schedule):
        return [Record(int(first), int(last), int(count), fires.OUTCOMES[int(outcome)], fires.CAUSES[int(cause)], run)
                for first, last, count, outcome, cause, run in self.place.query(
                    f"SELECT first_at, last_at, count, outcome, cause, run FROM wfo.fires WHERE schedule = '{schedule}' ORDER BY fire")]

    def runs(self, schedule=None):
        where = f"WHERE schedule = '{schedule}'" if schedule else ""
        return [Run(id_, fires.STATUSES[int(status)], scheduled and int(scheduled), trigger)
                for id_, status, scheduled, trigger in self.place.query(
                    f"SELECT id, status, scheduled_for, trigger_id FROM wfo.job_runs {where} ORDER BY id")]

    def created(self):
        return {name: int(created) for name, created in self.place.query("SELECT name, created_at FROM wfo.schedules")}

    def settle(self):
        """Waits until nothing is under way any more; new fires must not come."""
        types = ",".join(f"'{name}'" for name in invariants.LEDGER_TYPES)

        def is_at_rest():
            now = [int(value) for value in self.installation.one(
                "SELECT (SELECT count(*) FROM wfo.job_runs WHERE status <= 2), (SELECT count(*) FROM wfo.outbox), "
                "(SELECT count(*) FROM wfo.fires WHERE outcome = 1), (SELECT count(*) FROM wfo.log), "
                f"(SELECT count(*) FROM wfo.log WHERE type IN ({types})), (SELECT count(*) FROM wfo_ledger.entries)")]
            open_runs, outbox, buffered, logged, logged_for_ledger, entries = now
            seen = invariants.first_occurrences(self.installation.observer.messages())
            ours = sum(1 for message in seen if invariants.is_ours(message))
            others = sum(1 for message in seen if not invariants.is_ours(message))  # all of them are for the ledger
            triggers = sum(1 for message in seen if message["type"] == fires.TRIGGER and json.loads(message["body"])["data"]["job"] in JOBS)
            answers = len(self.worker.taken())
            self.unrest = f"{now}, observed {ours} of ours and {others} of others; {answers} of {triggers} triggers are answered"
            return (not open_runs and not outbox and not buffered and ours >= logged and answers >= triggers and others >= answers and
                    entries >= logged_for_ledger + others)
        self.unrest = ""
        try:
            wait_until(is_at_rest, "all is at rest")
        except AssertionError as error:
            self.fail(f"{error}: {self.unrest} (open runs, outbox, buffered, log, log for ledger, ledger)\n{self.installation.tails()}")

    def judge(self, wanted, until_ms):
        facts = self.installation.facts([])
        first = invariants.first_occurrences(facts.observed)
        wrong = []
        for name, found in (("repeats", invariants.check_repeats(facts)), ("published", invariants.check_published(facts)),
                            ("ledger", invariants.check_ledger(facts)), ("aside", invariants.check_nothing_aside(facts))):
            wrong += [f"[{name}] {text}" for text in found]
        total = Counter()
        for one in wanted:
            records, runs = self.records(one.name), self.runs(one.name)
            for record in records:
                total[record.outcome, record.cause] += record.count
            wrong += [f"[fires] {text}" for text in fires.check_account(one, records, until_ms)]
            wrong += [f"[triggers] {text}" for text in fires.check_triggers(one, records, runs, fires.triggers_of(first, one.name))]
            wrong += [f"[ends] {text}" for text in fires.check_ends(runs, first)]
        verdict = check(self.installation.observer)
        if verdict["invalid"] or verdict["unknown"]:
            wrong.append(f"[ajv] {verdict}")
        for replica in self.installation.replicas:
            if replica.process.poll() not in (None, 0):
                wrong.append(f"[processes] {replica.name} ended by itself with {replica.process.poll()}")
        outcomes = ", ".join(f"{count} {outcome} ({cause})" for (outcome, cause), count in sorted(total.items()))
        print(f"{self.id().rpartition('.')[2]}: {sum(total.values())} fires: {outcomes}; {len(facts.log)} events, "
              f"{len(facts.observed) - len(first)} came twice, in {time.monotonic() - self.began:.1f} s; {'; '.join(self.notes)}",
              file=sys.stderr, flush=True)
        if wrong:
            self.keep()
            more = f"\n… and {len(wrong) - 25} more" if len(wrong) > 25 else ""
            self.fail(f"{len(wrong)} things are wrong (WFO_FAULT_SEED={SEED}):\n" + "\n".join(wrong[:25]) + more +
                      "\n" + self.installation.tails())
        return total

    def keep(self):
        if kept := os.environ.get("WFO_FAULT_LOGS"):
            shutil.copytree(self.folder, Path(kept) / self.place.name, dirs_exist_ok=True)

    def end(self, wanted):
        """A configuration without schedules ends all of them, after what was due has been accounted for; judges. Returns how many
        fires became what, and the process that did it."""
        for replica in self.installation.replicas:
            self.assertEqual(replica.stop(), 0, replica.tail())
        created = self.created()
        for one in wanted:
            one.created_ms = created[one.name]
        ended_ms = time.time() * 1000
        last = self.replica("last", self.write_jobs("none.yaml", []), max(APART_S))
        self.installation.start(last)
        self.assertEqual(self.created().keys() & created.keys(), {"outcome-sync", "risk-snapshot-backfill"})
        self.settle()
        return self.judge(wanted, ended_ms), last

    # --- tests

    def test_three_replicas_whose_clocks_are_apart_are_killed_again_and_again(self):
        definitions, wanted = zip(*schedules())
        self.worker = self.enterContext(JobWorker(self.place.bus_url, self.folder, JOBS))
        jobs = self.write_jobs("jobs.yaml", definitions)
        replicas = [self.replica(f"replica-{number}", jobs, ahead_s) for number, ahead_s in enumerate(APART_S)]
        self.installation.start(*replicas)
        killed = paused = 0
        until = time.monotonic() + KILLING_S
        while time.monotonic() < until:
            victim = self.chance.choice(replicas)
            if self.chance.random() < 0.8:
                victim.kill()
                killed += 1
                time.sleep(self.chance.uniform(0, 0.7))
                victim.start()
            else:  # wakes up in the middle of something that others have done meanwhile
                victim.pause()
                paused += 1
                time.sleep(self.chance.uniform(0.2, 2.5))
                victim.resume()
            time.sleep(self.chance.uniform(0.1, 1.2))
        for replica in replicas:
            replica.kill()
        time.sleep(OUTAGE_S)
        self.installation.start(*replicas)
        self.note(f"{killed} kills, {paused} pauses, {OUTAGE_S} s without anybody")
        time.sleep(3)
        total, last = self.end(wanted)

        # Each policy has had to do something.
        for outcome, cause in ((fires.TRIGGERED, "due"), (fires.TRIGGERED, "released"), (fires.SKIPPED, "overlap"),
                               (fires.SKIPPED, "superseded"), (fires.SKIPPED, "outside_window")):
            self.assertGreater(total[outcome, cause], 0, (outcome, cause, total))
        self.assertIn("cancelled", {run.status for run in self.runs("cancels")})
        self.assert_told("skips", self.records("skips"), last)

    def assert_told(self, schedule, records, replica):
        """`wfo jobs fires` shows the same, page by page."""
        told, cursor = [], None
        while True:
            command = [BINARY, "jobs", "fires", schedule, "--output", "json", "--limit", "20", "--data-dir", str(replica.data)]
            done = subprocess.run(command + (["--cursor", cursor] if cursor else []), capture_output=True, text=True, timeout=60,
                                  env={**os.environ, **replica.environment}, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            page = json.loads(done.stdout)
            told += [Record(fires.parse_ms(fire["first"]), fires.parse_ms(fire["last"]), fire["count"], fire["outcome"],
                            fire["cause"], fire.get("runId")) for fire in page["fires"]]
            cursor = page.get("cursor")
            if not cursor:
                break
        self.assertEqual(told, records[::-1])

    def test_servers_go_away_and_come_back_while_schedules_fire(self):
        definitions, wanted = zip(*schedules())
        self.worker = self.enterContext(JobWorker(self.place.bus_url, self.folder, JOBS))
        jobs = self.write_jobs("jobs.yaml", definitions)
        replicas = [self.replica(f"replica-{number}", jobs, ahead_s) for number, ahead_s in enumerate(APART_S)]
        self.installation.start(*replicas)
        for away in (lambda: self.servers.kill("postgres"), lambda: self.servers.stop("postgres", "immediate")):
            time.sleep(self.chance.uniform(1, 2))
            away()
            time.sleep(self.chance.uniform(0.2, 1))
            self.servers.start("postgres")
        time.sleep(self.chance.uniform(1, 2))
        began = time.monotonic()
        self.servers.kill("rabbitmq")
        self.servers.start("rabbitmq")
        self.note(f"RabbitMQ was away for {time.monotonic() - began:.1f} s")
        for replica in replicas:
            self.assertTrue(replica.alive(), replica.tail())
            wait_until(lambda one=replica: one.ask("GET", "/ready")[0] == 200, f"{replica.name} is ready")
        time.sleep(2)
        self.end(wanted)

    def test_a_clock_that_is_set_forward_by_a_day_and_back_by_more_repeats_and_loses_nothing(self):
        """One replica's clock at a time, while the others' is right."""
        self.worker = self.enterContext(JobWorker(self.place.bus_url, self.folder, JOBS))
        definitions = [{"name": name, "job": "quick", "cron": "*/10 * * * *", "overlap": "allow_all", "metadata": {"schedule": name}, **more}
                       for name, more in (("all", {"catchUpWindow": "2d"}), ("an-hour", {"catchUpWindow": "1h"}),
                                          ("none", {"catchUpWindow": "0s"}))]
        wanted = [Wanted(one["name"], "quick", "allow_all", lambda second: second % 600 == 0, window_is_0=one["name"] != "all")
                  for one in definitions]
        jobs = self.write_jobs("jobs.yaml", definitions)
        replicas = [self.replica(f"replica-{number}", jobs, ahead_s) for number, ahead_s in enumerate(APART_S)]
        self.installation.start(*replicas)
        created = self.created()
        for one in wanted:
            one.created_ms = created[one.name]

        def counts():
            return [sum(record.count for record in self.records(one.name)) for one in wanted]

        def last_s(ahead_s):
            return int(time.time() + ahead_s) // 600 * 600

        def await_fire(second):
            """Nothing is due before the next one, which may come meanwhile."""
            wait_until(lambda: all(max((record.last_ms for record in self.records(one.name)), default=0) >= second * 1000
                                   for one in wanted), f"the fire of {second}")
        replicas[1].clock.set(DAY_S)
        await_fire(last_s(DAY_S))
        # Back where it was, and an hour less: the fires of that day have had their record.
        replicas[1].clock.set(-3600)
        wait_until(lambda: "the clock was set back by" in replicas[1].said(), "somebody says so")
        day = counts()
        self.assertTrue(all(144 <= count <= 146 for count in day), day)
        replicas[2].kill()
        replicas[2].start().await_port()  # with the configuration that it had
        self.installation.start(self.replica("another", jobs, 0))
        self.assertEqual(counts(), day)
        # Where the first one had been is no news either, only what comes then.
        replicas[0].clock.set(DAY_S + 1200)
        await_fire(last_s(DAY_S + 1200))
        self.assertTrue(all(2 <= now - before <= 3 for now, before in zip(counts(), day)), (counts(), day))
        self.settle()
        total = self.judge(wanted, (time.time() + DAY_S + 600) * 1000)
        by_name = {one.name: Counter() for one in wanted}
        for one in wanted:
            for record in self.records(one.name):
                by_name[one.name][record.outcome] += record.count
        # With a day's window all of them were triggered, with an hour's those of the last hour, without one what was just due.
        self.assertEqual(by_name["all"][fires.SKIPPED], 0, total)
        self.assertTrue(7 <= by_name["an-hour"][fires.TRIGGERED] <= 10, by_name)
        self.assertLessEqual(by_name["none"][fires.TRIGGERED], 2, by_name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
