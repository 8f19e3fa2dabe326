"""Schedules over days that pass in quick motion: outages, clocks that are set, processes that are killed, definitions that
change, daylight saving, and what is refused. What is expected is written down here by hand, from docs/guide/schedules.md.

Environment: WFO_SEED, what chance begins with; printed."""

import collections
import contextlib
import datetime
import itertools
import json
import os
import random
import sqlite3
import time
import unittest
import uuid

from wfo import SYSTEM_TENANT, Server, WallClock, eventually, export, moment, run, run_json, temporary_folder

SEED = int(os.environ.get("WFO_SEED", str(time.time_ns() % 1_000_000)))
POLICIES = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow_all")
DAY = "2026-05-04"
TRIGGER = "workflow.job.trigger"
SCHEDULE = "/api/v1/jobs/schedules"
KILLS = 8


def times(first, last, step_s=600):
    """Every `step_s` from the one to the other, both included; hours and minutes are of DAY."""
    first, last = (moment(text if "T" in text else f"{DAY}T{text}:00Z") for text in (first, last))
    count = int((last - first).total_seconds()) // step_s + 1
    return [first + datetime.timedelta(seconds=step_s * i) for i in range(count)]


def at(minute):
    return moment(f"{DAY}T{minute}:00Z")


def schedule(name, cron="*/10 * * * *", job="crm-export", **more):
    return {"name": name, "job": job, "cron": cron, **more}


class Installation(contextlib.ExitStack):
    """A data directory, its jobs file and its clock."""

    def __init__(self, when, schedules=()):
        super().__init__()
        self.folder = self.enter_context(temporary_folder())
        self.data, self.jobs = self.folder / "data", self.folder / "jobs.yaml"
        self.clock = WallClock(self.folder, when)
        self.define(schedules)

    def define(self, schedules):
        # JSON is YAML. The built-in schedules are out of the way.
        own = [schedule(job, "0 0 29 2 *", job) for job in ("outcome-sync", "risk-snapshot-backfill")]
        self.jobs.write_text(json.dumps({"jobs": [{"job": "crm-export", "startTimeout": "30d"}],
                                         "schedules": [*schedules, *own]}))

    def serve(self, *arguments, when=None):
        if when:
            self.clock.go_to(when if "T" in when else f"{DAY}T{when}:00Z")
        return Server(self.data, "--set", f"jobs.definitions={self.jobs}", "--set", "jobs.heartbeat_timeout=1s",
                      *arguments, env=self.clock.environment)

    def ask(self, *arguments):
        """What a command says, by this clock: one that nobody serves opens the installation itself."""
        return run_json(*arguments, "--data-dir", self.data, env=self.clock.environment)

    def fires(self, name):
        """The records of a schedule, in the order in which they were made."""
        rows, cursor = [], []
        while True:
            page = self.ask("jobs", "fires", name, "--limit", 1000, *cursor)
            rows += page["fires"]
            if "cursor" not in page:
                return rows[::-1]
            cursor = ["--cursor", page["cursor"]]

    def table(self, query):
        with contextlib.closing(sqlite3.connect(f"file:{self.data / 'wfo.db'}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()

    def accounted(self):
        """How many fires of each schedule have a record."""
        if not (self.data / "wfo.db").exists():
            return collections.Counter()
        try:
            return collections.Counter(dict(self.table("SELECT schedule, sum(count) FROM fires GROUP BY schedule")))
        except sqlite3.OperationalError:  # it is being made
            return collections.Counter()

    def wait_for(self, **counts):
        eventually(lambda: all(self.accounted()[name.replace("__", "-")] >= count for name, count in counts.items()),
                   f"{counts} fires")


class Schedules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"WFO_SEED={SEED}", flush=True)
        cls.chance = random.Random(SEED)

    def verdicts(self, rows, expected, what):
        """What became of each expected fire, which has exactly one record: [(outcome, cause, how many in a row)]."""
        found = []
        for row in rows:
            first, last = moment(row["first"]), moment(row["last"])
            covered = [time_ for time_ in expected if first <= time_ <= last]
            self.assertEqual((covered[:1], covered[-1:], len(covered)), ([first], [last], row["count"]), f"{what}: {row}")
            self.assertTrue(row["outcome"] == "skipped" or row["count"] == 1, row)
            self.assertEqual(row["outcome"] == "triggered", "runId" in row, row)
            found += [(time_, row["outcome"], row["cause"]) for time_ in covered]
        self.assertEqual([time_ for time_, _, _ in sorted(found)], expected, what)
        return [(*verdict, len(list(group)))
                for verdict, group in itertools.groupby(sorted(found), key=lambda one: one[1:])]

    def check_triggers(self, installation, names):
        """Each triggered fire has one trigger in the ledger and one run; and there is no other of these schedules."""
        wanted = {row["runId"]: (row["schedule"], row["first"]) for name in names for row in installation.fires(name)
                  if row["outcome"] == "triggered"}

        def recorded():
            entries = export(installation.data, "--type", TRIGGER, "--tenant", SYSTEM_TENANT, env=installation.clock.environment)
            return len(entries) >= len(wanted) and ([entry["event"]["data"] for entry in entries],)
        triggers, = eventually(recorded, f"{len(wanted)} triggers")
        self.assertEqual(collections.Counter((trigger["runId"], trigger["scheduledFor"]) for trigger in triggers),
                         collections.Counter((run_id, first) for run_id, (_, first) in wanted.items()))
        self.assertEqual({trigger["triggeredBy"] for trigger in triggers}, {"scheduler"} if wanted else set())
        runs = installation.table("SELECT id, schedule, scheduled_for FROM job_runs")
        self.assertEqual({str(uuid.UUID(bytes=id_)): (name, due) for id_, name, due in runs},
                         {run_id: (name, moment(first).timestamp() * 1000) for run_id, (name, first) in wanted.items()})
        self.assertEqual(len(runs), len(wanted))
        return triggers

    # Outages.

    def outage(self, up_at, back_at, expected, table, windows, open_run=False):
        """Ten schedules of every ten minutes, made at 10:02; down from `up_at` to `back_at`."""
        names = {f"{policy}-{window}": (policy, window) for policy in POLICIES for window in windows}
        definitions = [schedule(name, overlap=policy, catchUpWindow=windows[window])
                       for name, (policy, window) in names.items()]
        installation = self.enterContext(Installation(f"{DAY}T10:02:00Z", definitions))
        with installation.serve() as server:
            if open_run:
                installation.clock.go_to(f"{DAY}T10:10:20Z")
                eventually(lambda: sum(installation.accounted().values()) == len(names), "a fire of each")
            installation.clock.go_to(f"{DAY}T{up_at}:00Z")
            self.assertEqual(server.stop(), 0)
        with installation.serve(when=back_at):
            eventually(lambda: sum(installation.accounted().values()) >= len(expected) * len(names), "all fires")
            for name, (policy, window) in names.items():
                with self.subTest(policy=policy, window=windows[window], expected=len(expected)):
                    rows = installation.fires(name) if expected else []
                    self.assertEqual(self.verdicts(rows, expected, name), table[window][policy])
                    shown = installation.ask("jobs", "show", name)
                    following = (expected[-1] if expected else at("10:00")) + datetime.timedelta(minutes=10)
                    self.assertEqual(moment(shown["nextFireAt"]), following)
                    self.assertEqual(shown["waiting"], sum(row["outcome"] == "buffered" for row in rows))
            self.check_triggers(installation, names if expected else [])
        return installation

    def test_an_outage_without_a_fire_leaves_nothing_to_account_for(self):
        nothing = dict.fromkeys(POLICIES, [])
        self.outage("10:05", "10:08", [], {"short": nothing, "long": nothing}, {"short": "0s", "long": "1d"})

    def test_an_outage_over_one_fire(self):
        caught_up = dict.fromkeys(POLICIES, [("triggered", "catch_up", 1)])
        outside = dict.fromkeys(POLICIES, [("skipped", "outside_window", 1)])
        self.outage("10:05", "10:15", times("10:10", "10:10"), {"short": outside, "long": caught_up},
                    {"short": "4m", "long": "10m"})

    def test_an_outage_over_fifty_fires(self):
        expected = times("10:10", "18:20")
        self.assertEqual(len(expected), 50)

        def table(count, before):
            return {"skip": [*before, ("triggered", "catch_up", 1), ("skipped", "overlap", count - 1)],
                    "buffer_one": [*before, ("triggered", "catch_up", 1), ("buffered", "overlap", 1),
                                   ("skipped", "overlap", count - 2)],
                    "buffer_all": [*before, ("triggered", "catch_up", 1), ("buffered", "overlap", count - 1)],
                    "cancel_other": [*before, ("skipped", "superseded", count - 1), ("triggered", "catch_up", 1)],
                    "allow_all": [*before, ("triggered", "catch_up", count)]}
        # At 18:25, 17:00 is the first that is not later than 95 minutes.
        self.outage("10:05", "18:25", expected,
                    {"long": table(50, []), "short": table(9, [("skipped", "outside_window", 41)])},
                    {"long": "1d", "short": "95m"})

    def test_an_outage_during_which_a_run_is_open(self):
        expected = times("10:10", "18:20")
        met = [("triggered", "due", 1)]

        def table(count, before):
            return {"skip": [*before, ("skipped", "overlap", count)],
                    "buffer_one": [*before, ("buffered", "overlap", 1), ("skipped", "overlap", count - 1)],
                    "buffer_all": [*before, ("buffered", "overlap", count)],
                    "cancel_other": [*before, ("skipped", "superseded", count - 1), ("triggered", "catch_up", 1)],
                    "allow_all": [*before, ("triggered", "catch_up", count)]}
        outside = [*met, ("skipped", "outside_window", 40)]
        installation = self.outage("10:12", "18:25", expected, {"long": table(49, met), "short": table(9, outside)},
                                   {"long": "1d", "short": "95m"}, open_run=True)
        # All that is open ends, one after the other: what waited is triggered, the oldest first.
        waited = [row["first"] for row in installation.fires("buffer_all-short") if row["outcome"] == "buffered"]
        with installation.serve(when="18:26") as server:
            cancelled = server.ask("GET", "/api/v1/jobs/runs?schedule=cancel_other-long&status=cancelled")[1]["runs"]
            self.assertEqual([one["scheduledFor"] for one in cancelled], [f"{DAY}T10:10:00.000Z"])
            self.assertIn("18:20", cancelled[0]["error"])
            released = []
            runs = "/api/v1/jobs/runs?schedule=buffer_all-short"
            for count in range(1, len(waited) + 2):
                opened = eventually(lambda: server.ask("GET", f"{runs}&status=pending")[1]["runs"], "a run")
                self.assertEqual(len(opened), 1)
                released.append(opened[0]["scheduledFor"])
                event = {"id": str(uuid.uuid4()), "type": "workflow.job.completed", "version": "1.0.0",
                         "timestamp": f"{DAY}T18:26:00.000Z", "tenantId": SYSTEM_TENANT, "source": "crm-export",
                         "data": {"job": "crm-export", "status": "completed", "completedAt": f"{DAY}T18:26:00.000Z",
                                  "runId": opened[0]["runId"]}}
                self.assertEqual(server.ask("POST", "/api/v1/events", event, {"X-Tenant-Id": SYSTEM_TENANT})[0], 202)
                eventually(lambda count=count: len(server.ask("GET", f"{runs}&status=completed")[1]["runs"]) == count, "its end")
            self.assertEqual(released, [f"{DAY}T10:10:00.000Z", *waited])
            self.assertEqual(self.verdicts(installation.fires("buffer_all-short"), expected, "released"),
                             [*outside, ("triggered", "released", 9)])

    # Clocks.

    def test_a_clock_that_is_set_while_it_runs_doubles_and_loses_nothing(self):
        window = {"catchUpWindow": "30d"}
        definitions = [*(schedule(policy, overlap=policy, **window) for policy in POLICIES),
                       schedule("ticks", "* * * * * *", overlap="skip", **window)]
        with Installation(f"{DAY}T10:02:00Z", definitions) as installation, installation.serve() as server:
            def forward(when, expected):
                installation.clock.go_to(when)
                eventually(lambda: all(installation.accounted()[name] >= len(expected) for name in POLICIES), f"fires until {when}")
                for name in POLICIES:
                    self.verdicts(installation.fires(name), expected, f"{name} at {when}")
            forward(f"{DAY}T10:31:00Z", times("10:10", "10:30"))
            eventually(lambda: moment(server.ask("GET", f"{SCHEDULE}/ticks")[1]["nextFireAt"]) > at("10:31"), "ticks")
            before = {name: installation.fires(name) for name in POLICIES}

            # An hour back. A schedule that is made now fires by the new time; the others have had these times.
            installation.clock.go_to(f"{DAY}T09:31:00Z")
            self.assertEqual(server.ask("PUT", f"{SCHEDULE}/witness", {"job": "crm-export", "cron": "* * * * * *",
                                                                        "overlap": "skip"})[0], 201)
            installation.clock.go_to(f"{DAY}T09:40:30Z")  # over 09:40
            installation.wait_for(witness=9 * 60)
            installation.clock.go_to(f"{DAY}T10:10:30Z")  # over 10:00 and 10:10
            installation.wait_for(witness=39 * 60)
            self.assertEqual({name: installation.fires(name) for name in POLICIES}, before)
            ticks = installation.accounted()["ticks"]

            installation.clock.go_to(f"{DAY}T10:35:00Z")
            eventually(lambda: installation.accounted()["ticks"] > ticks, "ticks go on")
            self.assertEqual({name: installation.fires(name) for name in POLICIES}, before)
            forward(f"{DAY}T10:41:00Z", times("10:10", "10:40"))

            # A day forward is an outage of a day: every fire has its record.
            day_later = times("10:10", "2026-05-05T10:40:00Z")
            forward("2026-05-05T10:41:00Z", day_later)
            self.assertEqual(self.verdicts(installation.fires("allow_all"), day_later, "a day later")[-1][0], "triggered")
            self.assertEqual(sum(row["outcome"] == "triggered" for row in installation.fires("allow_all")), len(day_later))
            self.assertEqual(sum(row["outcome"] == "triggered" for row in installation.fires("skip")), 1)

            # 86,400 fires of every second are a few rows, and none is missing.
            eventually(lambda: moment(server.ask("GET", f"{SCHEDULE}/ticks")[1]["nextFireAt"]) > moment("2026-05-05T10:41:00Z"),
                       "a day of seconds")
            rows = installation.fires("ticks")
            self.assertEqual(sum(row["count"] for row in rows),
                             (moment(rows[-1]["last"]) - moment(rows[0]["first"])).total_seconds() + 1)
            for row, following in itertools.pairwise(rows):
                self.assertEqual(moment(following["first"]), moment(row["last"]) + datetime.timedelta(seconds=1))
            self.assertLess(len(rows), 100)
            self.assertEqual(server.stop(), 0)

    # Kills.

    def test_a_process_that_is_killed_again_and_again_triggers_each_fire_once(self):
        definitions = [schedule(f"{policy}-{job}", "* * * * * *", job, overlap=policy)
                       for policy in POLICIES for job in ("outcome-sync", "crm-export")
                       if job == "outcome-sync" or policy in ("skip", "allow_all")]
        names = [definition["name"] for definition in definitions]
        with Installation(f"{DAY}T10:02:00Z", definitions) as installation:
            for _ in range(KILLS):
                goal = installation.accounted()[names[0]] + self.chance.randint(1, 3)
                spin = self.chance.randint(0, 40)
                with installation.serve() as server:
                    eventually(lambda goal=goal: installation.accounted()[names[0]] >= goal, f"{goal} fires")
                    for _ in range(spin):  # a little later, but not by the clock
                        installation.accounted()
                    server.kill()
                installation.clock.set(installation.clock.ahead_s + self.chance.choice([0, 2, 5]))
            with installation.serve() as server:
                goal = installation.accounted()[names[0]] + 2
                eventually(lambda: installation.accounted()[names[0]] >= goal, f"{goal} fires")
                self.assertEqual(server.stop(), 0)
            buffered = {"due", "catch_up", "released", "overlap"}
            allowed = {"skip": {"due", "catch_up", "overlap"}, "buffer_one": buffered, "buffer_all": buffered,
                       "cancel_other": {"due", "catch_up", "superseded"}, "allow_all": {"due", "catch_up"}}
            with installation.serve("--roles", "logging"):  # no schedule is attended to any more
                for name in names:
                    rows = installation.fires(name)
                    expected = times(min(row["first"] for row in rows), max(row["last"] for row in rows), 1)
                    found = self.verdicts(rows, expected, name)
                    self.assertGreater(len(expected), KILLS, name)
                    self.assertLessEqual({cause for _, cause, _ in found}, allowed[name.split("-")[0]], name)
                self.check_triggers(installation, names)
            # Every run of a built-in job that nobody cancelled ends well.
            with installation.serve("--roles", "risk-analytics,logging"):
                eventually(lambda: not installation.table("SELECT 1 FROM job_runs WHERE job = 'outcome-sync' AND status IN (0, 1, 2)"),
                           "the runs that were killed")
            kinds = dict(installation.table("SELECT status, count(*) FROM job_runs WHERE job = 'outcome-sync' GROUP BY status"))
            self.assertLessEqual(kinds.keys(), {3, 5}, "a run failed")

    # Changes.

    def test_a_change_in_the_file_loses_no_fire_that_was_due_before(self):
        old = {"overlap": "allow_all", "metadata": {"version": "old"}}
        new = {"overlap": "allow_all", "metadata": {"version": "new"}}
        before = [schedule(name, **old) for name in ("same", "times", "policy", "window", "gone", "stopped", "data")]
        before.append(schedule("zone", "30 12 * * *", timeZone="Europe/Berlin", **old))
        after = [schedule("same", **old), schedule("times", "*/7 * * * *", **old), schedule("policy", **{**old, "overlap": "skip"}),
                 schedule("window", catchUpWindow="0s", **old), schedule("stopped", paused=True, **old), schedule("data", **new),
                 schedule("zone", "30 12 * * *", **old), schedule("new", **old)]
        due = times("10:10", "11:00")
        due_of = {**dict.fromkeys(("same", "times", "policy", "window", "gone", "stopped", "data"), due),
                  "zone": times("10:30", "10:30"), "new": []}
        with Installation(f"{DAY}T10:02:00Z", before) as installation:
            with installation.serve(when="10:02") as server:
                self.assertEqual(server.stop(), 0)
            installation.define(after)
            with installation.serve(when="11:02") as server:
                installation.wait_for(**{name: len(expected) for name, expected in due_of.items()})
                for name, expected in due_of.items():
                    with self.subTest(name=name):
                        # What is removed, or paused, does not catch up.
                        became = ("skipped", "paused") if name == "gone" else ("triggered", "catch_up")
                        self.assertEqual(self.verdicts(installation.fires(name), expected, name),
                                         [(*became, len(expected))] if expected else [])
                self.assertEqual(server.ask("GET", f"{SCHEDULE}/gone")[0], 404)
                triggers = self.check_triggers(installation, due_of)
                self.assertEqual({trigger["metadata"]["version"] for trigger in triggers}, {"old"},
                                 "what was due before is triggered as the schedule was then")
                for name, following in (("same", "11:10"), ("times", "11:07"), ("policy", "11:10"), ("zone", "12:30"),
                                        ("new", "11:10")):
                    self.assertEqual(moment(server.ask("GET", f"{SCHEDULE}/{name}")[1]["nextFireAt"]), at(following), name)
                installation.clock.go_to(f"{DAY}T11:10:30Z")
                installation.wait_for(same=7, times=7, policy=7, window=7, stopped=7, data=7, new=1)
                eleven_ten = {name: installation.fires(name)[-1] for name in ("same", "policy", "window", "stopped", "data", "new")}
                self.assertEqual({name: (row["outcome"], row["cause"]) for name, row in eleven_ten.items()},
                                 {"same": ("triggered", "due"), "policy": ("skipped", "overlap"),
                                  "window": ("skipped", "outside_window"), "stopped": ("skipped", "paused"),
                                  "data": ("triggered", "due"), "new": ("triggered", "due")})
                self.assertEqual(installation.fires("times")[-1]["first"], f"{DAY}T11:07:00.000Z")

                # The same by the API, while it runs: the clock is set and the schedule changed before anybody looked.
                self.assertEqual(server.ask("PUT", f"{SCHEDULE}/by-api", {"job": "crm-export", "cron": "*/10 * * * *",
                                                                           "overlap": "allow_all"})[0], 201)
                installation.clock.go_to(f"{DAY}T11:33:00Z")
                status, changed = server.ask("PUT", f"{SCHEDULE}/by-api", {"job": "crm-export", "cron": "0 * * * *"})
                self.assertEqual((status, changed["nextFireAt"]), (200, f"{DAY}T12:00:00.000Z"))
                self.assertEqual(self.verdicts(installation.fires("by-api"), times("11:20", "11:30"), "by-api"),
                                 [("triggered", "catch_up", 2)])
                installation.clock.go_to(f"{DAY}T12:03:00Z")
                self.assertEqual(server.ask("DELETE", f"{SCHEDULE}/by-api")[0], 204)
                self.assertEqual(self.verdicts(installation.fires("by-api"), times("11:20", "11:30") + [at("12:00")], "by-api"),
                                 [("triggered", "catch_up", 2), ("skipped", "paused", 1)])

    def test_a_pause_holds_what_is_late_and_a_backfill_fetches_what_was_skipped(self):
        with Installation(f"{DAY}T10:02:00Z", [schedule("a", overlap="allow_all")]) as installation, installation.serve() as server:
            installation.clock.go_to(f"{DAY}T10:10:20Z")
            installation.wait_for(a=1)
            # Set forward and paused before anybody looked: what is due just now, and what is late.
            installation.clock.go_to(f"{DAY}T10:20:20Z")
            self.assertEqual(server.ask("POST", f"{SCHEDULE}/a/pause", {"note": "Ana: moving"})[0], 200)
            installation.clock.go_to(f"{DAY}T11:05:00Z")
            self.assertEqual(server.ask("POST", f"{SCHEDULE}/a/resume", {})[0], 200)
            expected = times("10:10", "11:00")
            self.assertEqual(self.verdicts(installation.fires("a"), expected, "paused"),
                             [("triggered", "due", 2), ("skipped", "paused", 4)])
            filled = installation.ask("jobs", "backfill", "a", "--from", f"{DAY}T10:30:00Z", "--to", f"{DAY}T11:00:00Z", "--overlap",
                                      "allow_all")["fires"]
            self.assertEqual([(fire["first"], fire["outcome"], fire["cause"]) for fire in filled],
                             [(f"{DAY}T10:{minute}:00.000Z", "triggered", "backfill") for minute in (30, 40, 50)])
            self.check_triggers(installation, ["a"])

    def test_commands_where_nobody_serves_leave_the_fires_that_are_due_to_the_next_server(self):
        with Installation(f"{DAY}T10:02:00Z", [schedule(policy, overlap=policy) for policy in POLICIES]) as installation:
            with installation.serve() as server:
                installation.clock.go_to(f"{DAY}T10:10:20Z")
                installation.wait_for(**dict.fromkeys(POLICIES, 1))
                self.assertEqual(server.stop(), 0)
            installation.clock.go_to(f"{DAY}T11:05:00Z")
            for policy in POLICIES:
                first, = installation.fires(policy)
                self.assertEqual(installation.ask("jobs", "cancel", first["runId"], "--reason", "a test")["status"], "cancelled")
            for _ in range(3):  # what follows from these ends
                for policy in POLICIES:
                    self.assertEqual(len(installation.fires(policy)), 1, policy)
            with installation.serve():
                installation.wait_for(**dict.fromkeys(POLICIES, 6))
                expected = times("10:10", "11:00")
                for policy in POLICIES:
                    found = self.verdicts(installation.fires(policy), expected, policy)
                    self.assertEqual(sum(count for outcome, _, count in found if outcome == "triggered"),
                                     6 if policy == "allow_all" else 2, (policy, found))

    # Daylight saving.

    def daylight_saving(self, steps, table):
        """Stopped and started at these times; `table`: name: (expression, [(UTC, rule)])."""
        definitions = [schedule(name, cron, overlap="allow_all", timeZone="Europe/Berlin") for name, (cron, _) in table.items()]
        with Installation(steps[0], definitions) as installation:
            for step in steps:
                with installation.serve(when=step) as server:
                    wanted = {name: [fire for fire in fires if moment(fire[0]) <= moment(step)] for name, (_, fires) in table.items()}
                    installation.wait_for(**{name: len(fires) for name, fires in wanted.items()})
                    for name, fires in wanted.items():
                        with self.subTest(expression=table[name][0], at=step):
                            found = installation.fires(name) if fires else []
                            self.assertEqual([(moment(row["first"]), row["rule"], row["outcome"]) for row in found],
                                             [(moment(time_), rule, "triggered") for time_, rule in fires])
                    self.assertEqual(server.stop(), 0)
            self.check_triggers(installation, [name for name, (_, fires) in table.items() if fires])

    def test_the_night_in_spring(self):
        # 02:00 CET (01:00Z) is 03:00 CEST. Started at 01:55 local, then at 03:05, then in the afternoon.
        self.daylight_saving(["2026-03-29T00:55:00Z", "2026-03-29T01:05:00Z", "2026-03-29T01:45:00Z"], {
            "night": ("30 2 * * *", [("2026-03-29T01:00:00Z", "after_gap")]),
            "twice": ("15,45 2 * * *", [("2026-03-29T01:00:00Z", "after_gap")]),
            "three": ("0 3 * * *", [("2026-03-29T01:00:00Z", "regular")]),
            "both": ("0,30 2,3 * * *", [("2026-03-29T01:00:00Z", "regular"), ("2026-03-29T01:30:00Z", "regular")]),
            "any": ("*/30 * * * *", [("2026-03-29T01:00:00Z", "regular"), ("2026-03-29T01:30:00Z", "regular")]),
            "range": ("30 2-4 * * *", [("2026-03-29T01:30:00Z", "regular")]),
            "step": ("40 */2 * * *", []),
        })

    def test_the_night_in_autumn(self):
        # 03:00 CEST (01:00Z) is 02:00 CET. Started at 01:55 local, in the first pass, in the second, then at 03:05.
        self.daylight_saving(["2026-10-24T23:55:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:05:00Z", "2026-10-25T02:05:00Z"], {
            "night": ("30 2 * * *", [("2026-10-25T00:30:00Z", "first_pass")]),
            "two": ("0 2 * * *", [("2026-10-25T00:00:00Z", "first_pass")]),
            "three": ("0 3 * * *", [("2026-10-25T02:00:00Z", "regular")]),
            "hourly": ("0 * * * *", [("2026-10-25T00:00:00Z", "every_pass"), ("2026-10-25T01:00:00Z", "every_pass"),
                                     ("2026-10-25T02:00:00Z", "regular")]),
            "range": ("30 2-3 * * *", [("2026-10-25T00:30:00Z", "every_pass"), ("2026-10-25T01:30:00Z", "every_pass")]),
            "step": ("20 */2 * * *", [("2026-10-25T00:20:00Z", "every_pass"), ("2026-10-25T01:20:00Z", "every_pass")]),
        })


class Refused(unittest.TestCase):
    """What cannot be used is refused with what is wrong and what is allowed, and nothing is changed."""

    def test_by_every_route(self):
        run_id = "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11"
        good = {"job": "outcome-sync", "cron": "@daily"}
        jobs, schedule_a, nope = "/api/v1/jobs", f"{SCHEDULE}/a", f"{SCHEDULE}/nope"
        day = {"from": "2026-02-01T00:00:00Z", "to": "2026-02-02T00:00:00Z"}
        cases = [
            ("PUT", schedule_a, {**good, "cron": "0 25 * * *"}, 400, ["'0 25 * * *'", "hour", "column 3", "0..23"]),
            ("PUT", schedule_a, {**good, "cron": ["@daily", "61 * * * *"]}, 400, ["cron[1]", "minute", "0..59"]),
            ("PUT", schedule_a, {**good, "cron": []}, 400, ["cron", "1 to 20"]),
            ("PUT", schedule_a, {**good, "cron": "* * * *"}, 400, ["cron", "fields"]),
            ("PUT", schedule_a, {**good, "timeZone": "Mars/Phobos"}, 400, ["timeZone", "'Mars/Phobos'"]),
            ("PUT", schedule_a, {**good, "overlap": "queue"}, 400, ["overlap", "'queue'", "buffer_one"]),
            ("PUT", schedule_a, {**good, "jitter": "10m", "catchUpWindow": "5m"}, 400, ["jitter", "catchUpWindow"]),
            ("PUT", schedule_a, {**good, "jitter": "2h"}, 400, ["jitter", "1h"]),
            ("PUT", schedule_a, {**good, "catchUpWindow": "soon"}, 400, ["catchUpWindow", "'soon'"]),
            ("PUT", schedule_a, {**good, "catchUpWindow": "-1d"}, 400, ["catchUpWindow", "'-1d'"]),
            ("PUT", schedule_a, {**good, "catchUpWindow": "3651d"}, 400, ["catchUpWindow", "3650d"]),
            ("PUT", schedule_a, {**good, "pauseNote": "why"}, 400, ["pauseNote", "paused"]),
            ("PUT", schedule_a, {**good, "paused": "yes"}, 400, ["paused"]),
            ("PUT", schedule_a, {**good, "metadata": [1]}, 400, ["metadata", "object"]),
            ("PUT", schedule_a, {**good, "metadata": {"x": "y" * 70_000}}, 400, ["metadata", "65536"]),
            ("PUT", schedule_a, {"job": "risk-snapshot-backfill", "cron": "@daily",
                                 "metadata": {"from": "2026-02-02", "to": "2026-02-01"}}, 400, ["2026-02-02", "before"]),
            ("PUT", schedule_a, {**good, "job": "outcome-sink"}, 400, ["'outcome-sink'", "outcome-sync"]),
            ("PUT", schedule_a, {"cron": "@daily"}, 400, ["job"]),
            ("PUT", schedule_a, {**good, "zone": "UTC"}, 400, ["'zone'"]),
            ("PUT", schedule_a, {**good, "name": "b"}, 400, ["name", "'a'"]),
            ("PUT", schedule_a, [1], 400, []),
            ("PUT", schedule_a, "{", 400, ["JSON"]),
            ("PUT", f"{SCHEDULE}/-a", good, 400, ["'-a'"]),
            ("PUT", f"{SCHEDULE}/{'a' * 101}", good, 400, ["100"]),
            ("PUT", f"{SCHEDULE}/outcome-sync", good, 409, ["outcome-sync", "configuration"]),
            ("DELETE", f"{SCHEDULE}/outcome-sync", None, 409, ["outcome-sync", "configuration"]),
            ("DELETE", nope, None, 404, ["'nope'"]), ("GET", nope, None, 404, ["'nope'"]),
            ("GET", f"{nope}/fires", None, 404, ["'nope'"]), ("GET", f"{nope}/preview", None, 404, ["'nope'"]),
            ("GET", f"{SCHEDULE}/a/fires?cursor=x", None, 400, ["cursor", "'x'"]),
            ("GET", f"{SCHEDULE}/a/fires?limit=1001", None, 400, ["limit", "1..1000"]),
            ("GET", f"{SCHEDULE}/a/preview?count=0", None, 400, ["count", "1..1000"]),
            ("GET", f"{SCHEDULE}/a/preview?after=soon", None, 400, ["after", "'soon'"]),
            ("GET", f"{jobs}/preview", None, 400, ["cron"]),
            ("GET", f"{jobs}/preview?cron=%2A", None, 400, ["cron", "'*'"]),
            ("GET", f"{jobs}/preview?cron=@daily&timeZone=Mars", None, 400, ["'Mars'"]),
            ("GET", f"{jobs}/fires?limit=0", None, 400, ["limit"]), ("GET", f"{jobs}?color=red", None, 400, ["color"]),
            ("POST", f"{nope}/pause", {"note": "x"}, 404, ["'nope'"]),
            ("POST", f"{SCHEDULE}/a/pause", {}, 400, ["note"]),
            ("POST", f"{SCHEDULE}/a/pause", {"note": "x" * 1001}, 400, ["note", "1000"]),
            ("POST", f"{SCHEDULE}/a/resume", {}, 409, ["'a'", "not paused"]),
            ("POST", f"{nope}/resume", {}, 404, ["'nope'"]),
            ("POST", f"{nope}/backfill", day, 404, ["'nope'"]),
            ("POST", f"{SCHEDULE}/a/backfill", {"from": day["to"], "to": day["from"]}, 400, ["2026-02-02", "before"]),
            ("POST", f"{SCHEDULE}/a/backfill", {"from": day["from"]}, 400, ["'to'"]),
            ("POST", f"{SCHEDULE}/a/backfill", {**day, "from": "yesterday"}, 400, ["'from'", "yesterday", "RFC 3339"]),
            ("POST", f"{SCHEDULE}/a/backfill", {**day, "overlap": "queue"}, 400, ["overlap", "queue", "buffer_all"]),
            ("POST", f"{SCHEDULE}/a/backfill", {**day, "to": "2999-01-01T00:00:00Z"}, 400, ["now"]),
            ("POST", f"{SCHEDULE}/a/backfill", {**day, "from": "2020-01-01T00:00:00Z"}, 400, ["1000"]),
            ("POST", f"{SCHEDULE}/a/backfill", {"from": "2026-02-01T01:00:00Z", "to": "2026-02-01T02:00:00Z"}, 400, ["no fire"]),
            ("POST", f"{jobs}/outcome-sink/trigger", {}, 404, ["'outcome-sink'", "outcome-sync, risk-snapshot-backfill"]),
            ("POST", f"{jobs}/outcome-sync/trigger", {"metadata": [1]}, 400, ["metadata", "object"]),
            ("POST", f"{jobs}/outcome-sync/trigger", {"metadata": "x"}, 400, ["metadata", "object"]),
            ("POST", f"{jobs}/outcome-sync/trigger", {"when": "now"}, 400, ["when"]),
            ("POST", f"{jobs}/risk-snapshot-backfill/trigger", {"metadata": {"from": "2026-02-02", "to": "2026-02-01"}}, 400,
             ["2026-02-02", "before"]),
            ("POST", f"{jobs}/risk-snapshot-backfill/trigger", {"metadata": {"from": 7}}, 400, ["metadata.from", "7"]),
            ("POST", f"{jobs}/risk-snapshot-backfill/trigger", {"metadata": {"tenantId": "acme"}}, 400, ["metadata.tenantId", "uuid"]),
            ("GET", f"{jobs}/runs?status=done", None, 400, ["'done'", "completed"]),
            ("GET", f"{jobs}/runs?job=a%20b", None, 400, ["job", "'a b'"]),
            ("GET", f"{jobs}/runs/{run_id}", None, 404, [run_id]), ("GET", f"{jobs}/runs/nope", None, 404, ["nope"]),
            ("POST", f"{jobs}/runs/{run_id}/cancel", {"reason": "x"}, 404, [run_id]),
            ("POST", f"{jobs}/runs/{run_id}/cancel", {}, 400, ["reason"]),
            ("DELETE", jobs, None, 405, []), ("GET", f"{jobs}/outcome-sync/trigger", None, 405, []),
        ]
        with temporary_folder() as data, Server(data) as server:
            self.assertEqual(server.ask("PUT", schedule_a, good)[0], 201)

            def state():
                return [server.ask("GET", path) for path in (jobs, schedule_a, f"{jobs}/runs", f"{jobs}/fires")]
            before = state()
            for method, path, body, status, words in cases:
                with self.subTest(method=method, path=path, body=str(body)[:200]):
                    got, answer = server.ask(method, path, body)
                    self.assertEqual(got, status, answer)
                    text = json.dumps(answer, ensure_ascii=False).replace('\\"', '"')
                    for word in words:
                        self.assertIn(word, text)
            self.assertEqual(state(), before)
            self.assertEqual(export(data, "--tenant", SYSTEM_TENANT), [])

    def test_in_a_jobs_file(self):
        files = [
            ("schedules:\n  - {name: a, job: outcome-sync, cron: 0 25 * * *}\n", ["schedules[0]", "'0 25 * * *'", "hour", "0..23"]),
            ("schedules:\n  - {name: a, job: outcome-sync, cron: '@daily', timeZone: Mars}\n", ["timeZone", "'Mars'"]),
            ("schedules:\n  - {name: a, job: outcome-sync, cron: '@daily', overlap: queue}\n", ["overlap", "'queue'", "buffer_one"]),
            ("schedules:\n  - {name: a, job: outcome-sync, cron: '@daily', jitter: 10m, catchUpWindow: 5m}\n", ["jitter"]),
            ("schedules:\n  - {name: a, job: outcome-sink, cron: '@daily'}\n", ["'outcome-sink'", "outcome-sync"]),
            ("schedules:\n  - {name: a, job: outcome-sync, cron: '@daily', metadata: [1]}\n", ["metadata", "object"]),
            ("schedules:\n  - {name: a, job: outcome-sync, cron: '@daily'}\n  - {name: a, job: outcome-sync, cron: '@daily'}\n",
             ["'a'"]),
            ("schedules:\n  - {name: a, job: risk-snapshot-backfill, cron: '@daily', metadata: {from: b}}\n", ["schedule 'a'", "metadata.from", "b"]),
            ("jobs:\n  - {job: crm-export, startTimeout: soon}\n", ["startTimeout", "'soon'"]),
            ("jobs:\n  - {job: crm-export, kind: builtin}\n", ["crm-export"]),
            ("jobs:\n  - {job: outcome-sync, attemptsMax: 0}\n", ["attemptsMax", "1 to 100"]),
            ("jobs:\n  - {job: outcome-sync, retryFirst: 10m}\n", ["retryMax"]),
            ("jbos: []\n", ["'jbos'", "jobs", "schedules"]), ("jobs: [\n", [":2: not YAML"]), ("- a\n", []),
        ]
        with temporary_folder() as folder:
            bad = folder / "bad.yaml"
            for text, words in files:
                bad.write_text(text)
                for verb in (["serve", "--port", "0"], ["config", "check"]):
                    with self.subTest(verb=verb[0], file=text):
                        done = run(*verb, "--data-dir", folder / "data", "--set", f"jobs.definitions={bad}", code=2)
                        # Of what a job cannot use, the schedule's name says where it is.
                        place = [] if "metadata.from" in words else [str(bad)]
                        for word in [*place, *words]:
                            self.assertIn(word, done.stderr)
                        self.assertEqual(done.stdout, "")
            for verb in (["serve", "--port", "0"], ["config", "check"]):
                with self.subTest(verb=verb[0]):
                    done = run(*verb, "--data-dir", folder / "data", "--set", f"jobs.definitions={folder}/none.yaml", code=None)
                    self.assertIn(done.returncode, (2, 3))
                    self.assertIn("none.yaml", done.stderr)
                    done = run(*verb, "--data-dir", folder / "data", code=2, env={"OUTCOME_SYNC_CRON": "0 25 * * *"})
                    self.assertIn("'0 25 * * *'", done.stderr)
            bad.write_text(files[0][0].replace("25", "5"))
            run("config", "check", "--set", f"jobs.definitions={bad}")


if __name__ == "__main__":
    unittest.main()
