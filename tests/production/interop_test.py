"""Services of the platform that are not ours, in Node, beside each role of ours in a process of its own: they declare their
queues first, start runs, play two of our roles and see every event, each valid in a validator that is not ours."""

import json
import random
import re
import shutil
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import invariants
from installation import Installation, wait_until
from invariants import COMPLETED, EVENTS_OF_A_RUN, FAILED, STARTED, STEP_COMPLETED
from neighbours import Worker, check, declare, publish
from place import Place
from triggers import TENANTS, trigger, triggers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from servers import Servers  # noqa: E402

RUNS = 100
PLAYED = {"forecast": "forecast.completed", "recommendation": "recommendation.generation.completed"}
SCHEDULED = {"id": "018f3b5e-0000-7000-8000-00000000000a", "type": "workflow.job.trigger", "version": "1.0.0",
             "timestamp": "2026-03-01T01:00:00.000Z", "tenantId": "00000000-0000-0000-0000-000000000001",
             "source": {"service": "planner", "instance": "p-1"},
             "data": {"job": "outcome-sync-elsewhere", "metadata": {}, "triggeredBy": "manual", "timestamp": "2026-03-01T01:00:00.000Z"}}


class Interoperation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = Servers()
        cls.servers.__enter__()
        cls.addClassCleanup(cls.servers.__exit__)

    def setUp(self):
        name = self.id().rpartition(".")[2].removeprefix("test_")
        self.folder = Path(tempfile.mkdtemp(prefix="wfo-interop-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.place = Place(self.servers, name[:50])
        self.installation = self.enterContext(Installation(self.place, self.folder))

    def start(self, *roles):
        """A process for each role."""
        self.installation.start(*[self.installation.replica(f"{role}-{place}", roles=[role]) for place, role in enumerate(roles)])

    def settled(self, confirmed):
        unrest = self.installation.settle(len(confirmed))
        self.assertEqual(unrest, "", self.installation.tails())
        return self.installation.facts(confirmed)

    def assert_nothing_wrong(self, wrong):
        self.assertFalse(wrong, "\n" + "\n".join(wrong[:25]) + "\n" + self.installation.tails())

    def test_services_in_node_start_runs_play_roles_and_see_everything(self):
        url = self.place.bus_url
        declare(url, bi_batch_jobs=["workflow.job.trigger"])
        self.installation.observe()
        worker = self.enterContext(Worker(url, self.folder, ["forecasting", "recommendations"], fail_every=5))
        self.start("workflow-orchestrator", "workflow-orchestrator", "risk-analytics", "logging")

        chance = random.Random(7)
        messages, meant = triggers(chance, RUNS, repeated=0)
        unknown = []
        for number in range(RUNS, RUNS + 3):  # nobody knows these, so nobody can analyse them
            message, one = trigger(chance, number)
            for fields in ("changes", "structuredData"):
                message["event"]["data"].pop(fields, None)
            messages.append(message)
            unknown.append(one)
        publish(url, self.folder, messages)
        publish(url, self.folder, [{"routingKey": SCHEDULED["type"], "event": SCHEDULED}])
        unknown_job = wait_until(lambda: [json.loads(message["body"]) for message in self.installation.observer.messages()
                                          if message["type"] == "workflow.job.failed"], "the end of a job that nobody knows")[0]
        self.assertEqual(unknown_job["data"]["runId"], SCHEDULED["id"])
        self.assertRegex(unknown_job["data"]["error"], r"unknown job.*outcome-sync-elsewhere")
        facts = self.settled(meant + unknown)

        # Runs that nobody can analyse fail; of the others every one has every event.
        failing = {one.id for one in unknown}
        failed = {run for run, row in facts.runs.items() if row["trigger"] in failing}
        self.assertEqual({facts.runs[run]["status"] for run in failed}, {"failed"})
        for run in failed:
            facts.runs[run]["status"] = "completed"  # as it should be, for the judge
        again = Counter((answer["workflowId"], answer["type"]) for answer in worker.answers()
                        if answer["type"].endswith(".failed"))
        self.assertGreater(len(again), 0, "no answer of the worker failed at first")

        def events_of_a_run(run):
            if run in failed:
                return Counter(seen[run])  # how far they come is chance
            wanted = Counter(EVENTS_OF_A_RUN)
            for answer in PLAYED.values():
                del wanted[answer]
            wanted["workflow.forecast.requested"] += again[run, "forecast.failed"]
            wanted["workflow.recommendation.requested"] += again[run, "recommendation.generation.failed"]
            return wanted

        seen = {run: [message["type"] for message in messages if invariants.is_ours(message)]
                for run, messages in invariants.by_run(invariants.first_occurrences(facts.observed)).items()}
        scheduled = [message for message in facts.observed if message["id"] == SCHEDULED["id"]]
        self.assertEqual(len(scheduled), 1)
        system = SCHEDULED["tenantId"]
        self.assert_nothing_wrong(invariants.check_all(facts, events_of_a_run))
        self.assertEqual([entry[1] for entry in facts.ledger[system] if entry[2] == SCHEDULED["type"]], [SCHEDULED["id"]])
        for run in failed:
            own = Counter(seen[run])
            self.assertEqual((own[STARTED], own[FAILED], own[COMPLETED]), (1, 1, 0), f"{run}: {own}")
            terminal = next(json.loads(message["body"]) for message in facts.observed
                            if message["workflowId"] == run and message["type"] == FAILED)
            self.assertRegex(terminal["data"]["error"], r"OPP-001\d\d", "the error names the opportunity")

        # The worker's answers were taken in each of the forms in which it gives them.
        self.assertEqual({answer["echo"] for answer in worker.answers()}, {"both", "step", "none"})
        results = json.loads(next(message["body"] for message in facts.observed if message["type"] == COMPLETED))["data"]["results"]
        self.assertEqual(results["forecast"]["revenueForecast"], 12500.5)
        self.assertEqual(results["recommendations"]["recommendations"], [{"action": "call", "priority": 1}])

        # ajv, with the contracts and with the specification's own schemas.
        verdict = check(self.installation.observer)
        self.assertEqual((verdict["invalid"], verdict["unknown"]), (0, 0), verdict)
        self.assertEqual(verdict["specification"], {COMPLETED: RUNS, FAILED: len(failed)})
        self.assertEqual(verdict["types"][STARTED], RUNS + len(failed))
        self.assertGreaterEqual(verdict["types"][STEP_COMPLETED], 4 * RUNS)

        # What they declared is as they declared it, and is emptied all the same.
        rows = [row.split("\t") for row in self.servers.rabbitmqctl(
            "--no-table-headers", "list_queues", "--vhost", self.place.name, "name", "type", "messages").splitlines()]
        types = {name: type_ for name, type_, _ in rows}
        for plain in ("bi_batch_jobs", "forecasting_service", "recommendations_service"):
            self.assertIn("classic", types[plain])
        for ours in ("workflow_orchestrator_service", "risk_analytics_service", "logging_service"):
            self.assertIn("quorum", types[ours])
        said = "".join(replica.said() for replica in self.installation.replicas)
        self.assertTrue(re.search(r"queue 'forecasting_service' exists with other arguments", said),
                        f"nobody says that the queue is another one\n{said[-3000:]}")
        self.assertNotIn("queue 'bi_batch_jobs' exists", said, "this one is declared here as the platform does it")

    def test_each_role_in_a_process_of_its_own_does_the_whole_work(self):
        self.installation.observe()
        self.start("workflow-orchestrator", "risk-analytics", "forecasting", "recommendations", "logging")
        messages, meant = triggers(random.Random(8), RUNS, repeated=0.2)
        publish(self.place.bus_url, self.folder, messages)
        facts = self.settled(meant)
        self.assert_nothing_wrong(invariants.check_all(facts))
        self.assertEqual({run["tenant"] for run in facts.runs.values()}, set(TENANTS))
        verdict = check(self.installation.observer)
        self.assertEqual((verdict["invalid"], verdict["unknown"]), (0, 0), verdict)
        self.assertEqual(verdict["types"], {name: count * len(facts.runs) for name, count in EVENTS_OF_A_RUN.items()})
        left = {queue: count for queue, count in self.place.queues().items() if count}
        wait_until(lambda: not any(self.place.queues().values()), f"queues are empty: {left}")

    def test_a_trigger_that_comes_twice_starts_one_run(self):
        self.installation.observe()
        self.start("workflow-orchestrator", "risk-analytics", "forecasting", "recommendations", "logging")
        messages, meant = triggers(random.Random(9), 10, repeated=0)
        publish(self.place.bus_url, self.folder, messages)
        publish(self.place.bus_url, self.folder, messages)
        facts = self.settled(meant)
        self.assertEqual(len(facts.runs), len(meant))
        self.assert_nothing_wrong(invariants.check_all(facts))


if __name__ == "__main__":
    unittest.main(verbosity=2)
