"""The judge is judged: facts that are as they should be pass, and each thing that may go wrong is found and named."""

import copy
import json
import unittest
import uuid

import invariants
from invariants import ANSWERS, COMPLETED, FAILED, LEDGER_TYPES, REQUESTS, STARTED, STEP_COMPLETED, Facts, Trigger

TENANT, OTHER_TENANT = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
STEPS = ("risk_analysis", "risk_scoring", "forecast", "recommendation")


def message(type_, run, number, **more):
    event = {"id": str(uuid.uuid4()), "type": type_, "tenantId": TENANT, "data": {"workflowId": run, "attempt": 1, **more}}
    body = json.dumps(event)
    return {"n": number, "id": event["id"], "type": type_, "tenant": TENANT, "workflowId": run, "attempt": 1,
            "properties": {"appId": "workflow-orchestrator"}, "sha256": invariants.digest(body.encode()), "body": body}


def good_facts(runs=3):
    facts = Facts()
    for place in range(runs):
        run, trigger = str(uuid.uuid4()), str(uuid.uuid4())
        facts.confirmed.append(Trigger(trigger, TENANT, f"OPP-{place}"))
        facts.triggers[trigger] = {"tenant": TENANT, "outcome": "started", "workflow": run, "follow_up": None, "reason": ""}
        facts.runs[run] = {"tenant": TENANT, "status": "completed", "attempt": 1, "trigger": trigger, "wakes": False}
        types = [(STARTED, {})] + [(name, {}) for name in REQUESTS + ANSWERS] + [("risk.evaluated", {})]
        types += [(STEP_COMPLETED, {"stepType": step}) for step in STEPS] + [(COMPLETED, {})]
        for type_, more in types:
            facts.observed.append(message(type_, run, len(facts.observed) + 1, **more))
    facts.log = [(place + 1, seen["type"], seen["sha256"]) for place, seen in enumerate(facts.observed)]
    kept = [seen for seen in facts.observed if seen["type"] in LEDGER_TYPES]
    facts.ledger[TENANT] = [(place, seen["id"], seen["type"], seen["sha256"]) for place, seen in enumerate(kept)]
    return facts


def find(facts, type_):
    return next(seen for seen in facts.observed if seen["type"] == type_)


def lose_event(facts):
    facts.observed.remove(find(facts, "risk.evaluated"))


def invent_event(facts):
    run = facts.observed[0]["workflowId"]
    facts.observed.append(message("risk.evaluated", run, 99))


def change_bytes_of_repeat(facts):
    facts.observed.append({**facts.observed[3], "sha256": "0" * 64})


def swap_in_run(facts):
    facts.observed[0], facts.observed[1] = facts.observed[1], facts.observed[0]


def end_twice(facts):
    run = facts.observed[0]["workflowId"]
    place = facts.observed.index(find(facts, COMPLETED))
    facts.observed.insert(place + 1, message(FAILED, run, 99))


def complete_step_twice(facts):
    run = facts.observed[0]["workflowId"]
    place = facts.observed.index(find(facts, COMPLETED))
    facts.observed.insert(place, message(STEP_COMPLETED, run, 99, stepType="forecast"))


def speak_after_the_end(facts):
    first = facts.observed.index(find(facts, COMPLETED))
    facts.observed[first - 1], facts.observed[first] = facts.observed[first], facts.observed[first - 1]


def lose_trigger(facts):
    del facts.triggers[facts.confirmed[1].id]


def start_twice(facts):
    run, trigger = str(uuid.uuid4()), facts.confirmed[0].id
    facts.runs[run] = {"tenant": TENANT, "status": "completed", "attempt": 1, "trigger": trigger, "wakes": False}


def refuse_trigger(facts):
    facts.triggers[facts.confirmed[0].id].update(outcome="refused", reason="low disk")


def absorb_without_follow_up(facts):
    facts.triggers[facts.confirmed[0].id].update(outcome="absorbed")


def hang(facts):
    next(iter(facts.runs.values())).update(status="running")


def leave_gap(facts):
    facts.ledger[TENANT] = [(index + (index > 4), *rest) for index, *rest in facts.ledger[TENANT]]


def record_twice(facts):
    _, *rest = facts.ledger[TENANT][0]
    facts.ledger[TENANT].append((len(facts.ledger[TENANT]), *rest))


def record_nothing_of_one(facts):
    facts.ledger[TENANT].pop()


def record_other_bytes(facts):
    index, id_, type_, _ = facts.ledger[TENANT][2]
    facts.ledger[TENANT][2] = (index, id_, type_, "0" * 64)


def record_for_another_tenant(facts):
    facts.ledger[OTHER_TENANT] = [(0, *facts.ledger[TENANT].pop()[1:])]


def leave_in_outbox(facts):
    facts.outbox = 2


def set_aside(facts):
    facts.dead_letters.append("forged")


class Invariants(unittest.TestCase):
    def test_what_is_as_it_should_be_passes_also_with_repeats(self):
        facts = good_facts()
        self.assertEqual(invariants.check_all(facts), [])
        facts.observed += copy.deepcopy(facts.observed[10:40])
        self.assertEqual(invariants.check_all(facts), [])

    def test_an_absorbed_trigger_with_its_follow_up_passes(self):
        facts = good_facts(2)
        first, second = facts.confirmed
        late = Trigger(str(uuid.uuid4()), TENANT, first.opportunity)
        facts.confirmed.append(late)
        facts.triggers[late.id] = {"tenant": TENANT, "outcome": "absorbed", "workflow": facts.triggers[first.id]["workflow"],
                                   "follow_up": facts.triggers[second.id]["workflow"], "reason": ""}
        self.assertEqual(invariants.check_all(facts), [])

    def test_each_fault_is_found(self):
        for fault, found_by in ((lose_event, "published"), (invent_event, "published"), (change_bytes_of_repeat, "repeats"),
                                (swap_in_run, "order"), (swap_in_run, "runs"), (end_twice, "runs"),
                                (complete_step_twice, "runs"), (speak_after_the_end, "runs"), (lose_trigger, "triggers"),
                                (start_twice, "triggers"), (refuse_trigger, "triggers"),
                                (absorb_without_follow_up, "triggers"), (hang, "triggers"), (leave_gap, "ledger"),
                                (record_twice, "ledger"), (record_nothing_of_one, "ledger"),
                                (record_other_bytes, "ledger"), (record_for_another_tenant, "ledger"),
                                (leave_in_outbox, "published"), (set_aside, "aside")):
            with self.subTest(fault=fault.__name__, found_by=found_by):
                facts = good_facts()
                fault(facts)
                wrong = invariants.check_all(facts)
                self.assertTrue([text for text in wrong if text.startswith(f"[{found_by}]")], wrong)

    def test_a_line_of_an_export_gives_its_bytes(self):
        line = b'{"index":7,"receivedAt":"2026-03-01T09:30:00.004Z","event":{"id":"a","x":{}}}'
        self.assertEqual(invariants.exported_entry(line), (7, b'{"id":"a","x":{}}'))


if __name__ == "__main__":
    unittest.main()
