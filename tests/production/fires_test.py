"""What judges schedules, judged: what is well passes, and each kind of wrong is named."""

import copy
import json
import unittest

import fires
from fires import Record, Run, Wanted

SKIPS = Wanted("s", "quick", "skip", lambda second: second % 2 == 0, created_ms=999_500)
RECORDS = [Record(1_000_000, 1_000_000, 1, "triggered", "due", "r0"), Record(1_002_000, 1_006_000, 3, "skipped", "overlap", None),
           Record(1_008_000, 1_008_000, 1, "triggered", "catch_up", "r8")]
RUNS = [Run("r0", "completed", 1_000_000, "t0"), Run("r8", "cancelled", 1_008_000, "t8")]
TRIGGERS = [("t0", "r0", "1970-01-01T00:16:40.000Z"), ("t8", "r8", "1970-01-01T00:16:48.000Z")]


def end(type_, run, ours):
    body = json.dumps({"data": {"runId": run}})
    return {"type": type_, "body": body, "properties": {"appId": "workflow-orchestrator"} if ours else {}}


ENDS = [end(fires.JOB_COMPLETED, "r0", False), end(fires.JOB_FAILED, "r8", True)]


class Judge(unittest.TestCase):
    def setUp(self):
        self.records, self.runs, self.triggers, self.ends = map(copy.deepcopy, (RECORDS, RUNS, TRIGGERS, ENDS))

    def wrong(self, until_ms=None):
        return (fires.check_account(SKIPS, self.records, until_ms) + fires.check_triggers(SKIPS, self.records, self.runs, self.triggers) +
                fires.check_ends(self.runs, self.ends))

    def test_what_is_well(self):
        self.assertEqual(self.wrong(1_009_900), [])

    def test_each_kind_of_wrong_is_named(self):
        def change(record, **fields):
            for key, value in fields.items():
                setattr(self.records[record], key, value)
        cases = {
            "a gap": (lambda: self.records.pop(1), r"fire of 1004 .* has no record"),
            "a gap in a row": (lambda: change(1, count=2), r"3 fires are expected"),
            "the beginning is missing": (lambda: (self.records.pop(0), self.runs.pop(0), self.triggers.pop(0)), r"fire of 1000 .*no record"),
            "twice": (lambda: change(1, last_ms=1_008_000, count=4), r"fire of 1008 has 2 records"),
            "at another time": (lambda: change(0, first_ms=1_001_000, last_ms=1_001_000), r"no fires of it"),
            "older than the schedule": (lambda: self.records.insert(0, Record(998_000, 998_000, 1, "skipped", "overlap", None)), r"older than"),
            "a cause that the policy does not have": (lambda: change(1, cause="superseded"), r"is not what skip does"),
            "still waiting": (lambda: change(2, outcome="buffered", cause="overlap", run=None), r"buffered by overlap"),
            "a second trigger for a run": (lambda: self.triggers.append(("t9", "r8", TRIGGERS[1][2])), r"r8\) has 2 triggers"),
            "a second trigger for a fire": (lambda: self.triggers.append(("t9", "r9", TRIGGERS[1][2])), r"2 triggers for"),
            "no trigger": (lambda: self.triggers.pop(), r"has 0 triggers"),
            "a trigger for another time": (lambda: self.triggers.__setitem__(1, ("t8", "r8", TRIGGERS[0][2])), r"its run for 1008000"),
            "another trigger than the run's": (lambda: self.triggers.__setitem__(1, ("t9", "r8", TRIGGERS[1][2])), r"is of trigger t8"),
            "no run": (lambda: self.runs.pop(), r"names run r8, which is not there"),
            "a run of no fire": (lambda: self.runs.append(Run("r9", "completed", 1_008_000, "t9")), r"r9 belongs to no fire"),
            "an open run": (lambda: setattr(self.runs[0], "status", "pending"), r"r0 is pending"),
            "nobody said that it was done": (lambda: self.ends.pop(0), r"r0 is completed: 0 times said"),
            "we say that it failed, too": (lambda: self.ends.append(end(fires.JOB_FAILED, "r0", True)), r"1 times by us"),
            "cancelled in silence": (lambda: self.ends.pop(), r"r8 is cancelled: 0 events"),
            "cancelled twice": (lambda: self.ends.append(self.ends[1]), r"r8 is cancelled: 2 events"),
        }
        for name, (spoil, says) in cases.items():
            with self.subTest(name):
                self.setUp()
                spoil()
                self.assertRegex("\n".join(self.wrong()), says)

    def test_no_record_at_all(self):
        self.assertRegex("\n".join(fires.check_account(SKIPS, [])), r"no fire at all")
        self.assertRegex("\n".join(fires.check_account(SKIPS, [], 1_000_100)), r"fire of 1000 .*no record")
        self.assertEqual(fires.check_account(SKIPS, [], 999_900), [])

    def test_an_end_that_is_missing(self):
        self.assertRegex("\n".join(self.wrong(1_010_100)), r"fire of 1010 .*no record")


if __name__ == "__main__":
    unittest.main(verbosity=2)
