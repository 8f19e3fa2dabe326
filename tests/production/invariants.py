"""What must hold after every fault, judged from outside: from what a plain consumer saw, what the database holds and what
the ledger exports. Each check returns sentences, each of which names the trigger, run or event at fault; none: all is well.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

STARTED = "workflow.opportunity.analysis.started"
STEP_COMPLETED = "workflow.step.completed"
COMPLETED = "workflow.opportunity.analysis.completed"
FAILED = "workflow.opportunity.analysis.failed"
TERMINAL = (COMPLETED, FAILED)
REQUESTS = ("workflow.risk.analysis.requested", "workflow.risk.scoring.requested", "workflow.forecast.requested",
            "workflow.recommendation.requested")
ANSWERS = ("risk.evaluation.completed", "risk.scoring.completed", "forecast.completed",
           "recommendation.generation.completed")
LEDGER_TYPES = (STARTED, STEP_COMPLETED, COMPLETED, FAILED, "workflow.job.trigger", "workflow.job.completed",
                "workflow.job.failed", "opportunity.outcome.recorded")
EVENTS_OF_A_RUN = Counter({STARTED: 1, STEP_COMPLETED: 4, COMPLETED: 1, "risk.evaluated": 1,
                           **{name: 1 for name in REQUESTS + ANSWERS}})  # where our own roles answer, at the first try


@dataclass
class Trigger:
    """What was sent to start a run."""
    id: str
    tenant: str
    opportunity: str  # as the CRM calls it


@dataclass
class Facts:
    """All times, ids and digests as text. What is in the database and the ledger is of the end, when all is at rest."""
    confirmed: list = field(default_factory=list)  # Trigger: the broker took it
    observed: list = field(default_factory=list)  # as node/observer.mjs writes them, repeats included
    log: list = field(default_factory=list)  # (sequence, type, sha256) ascending
    committed_ms: dict = field(default_factory=dict)  # sha256 → when its entry of the log was committed
    triggers: dict = field(default_factory=dict)  # id → {"tenant", "outcome", "workflow", "follow_up", "reason"}
    runs: dict = field(default_factory=dict)  # id → {"tenant", "status", "attempt", "trigger", "wakes"}
    outbox: int = 0
    dead_letters: list = field(default_factory=list)  # texts
    quarantine: list = field(default_factory=list)  # texts
    ledger: dict = field(default_factory=dict)  # tenant → [(index, event id, type, sha256)]


def exported_entry(line):
    """The index and the event's bytes of a line of `wfo audit export`."""
    match = re.match(rb'\{"index":(\d+),"receivedAt":"[^"]*",(?:"reflowed":(?:true|false),)?"event":(.*)\}$', line)
    assert match, f"not a line of an export: {line[:200]}"
    return int(match[1]), match[2]


def digest(bytes_):
    return hashlib.sha256(bytes_).hexdigest()


def first_occurrences(observed):
    """The messages without those whose id came before."""
    seen, first = set(), []
    for message in observed:
        key = message["id"] or message["sha256"]
        if key not in seen:
            seen.add(key)
            first.append(message)
    return first


def is_ours(message):
    """Whether one of our roles published it: the neighbours have objects as `source` and no app_id."""
    return "appId" in message["properties"]


def by_run(messages):
    runs = defaultdict(list)
    for message in messages:
        if message["workflowId"]:
            runs[message["workflowId"]].append(message)
    return runs


def slowest_ms(facts):
    """How long after its commit the event was seen that had to wait longest."""
    return max((message["at"] - facts.committed_ms[message["sha256"]] for message in first_occurrences(facts.observed)
                if message["sha256"] in facts.committed_ms), default=0)


def check_repeats(facts):
    """What comes twice is the same id with the same bytes."""
    digests, wrong = {}, []
    for message in facts.observed:
        if message["id"] is None:
            continue
        known = digests.setdefault(message["id"], message["sha256"])
        if known != message["sha256"]:
            wrong.append(f"event {message['id']} ({message['type']}) came with two contents")
    return wrong


def check_published(facts):
    """An event is published if and only if it is in the log."""
    wrong = []
    logged = {sha256: (sequence, type_) for sequence, type_, sha256 in facts.log}
    seen = {message["sha256"]: message for message in facts.observed}
    for sequence, type_, sha256 in facts.log:
        if sha256 not in seen:
            wrong.append(f"log entry {sequence} ({type_}) was committed and nobody ever saw it")
    for sha256, message in seen.items():
        if is_ours(message) and sha256 not in logged:
            wrong.append(f"event {message['id']} ({message['type']}) of run {message['workflowId']} was published and is in no commit")
    if len(logged) != len(facts.log):
        wrong.append(f"the log holds {len(facts.log) - len(logged)} entries twice")
    if facts.outbox:
        wrong.append(f"{facts.outbox} entries still wait in the outbox")
    return wrong


def check_order(facts):
    """Within a run, first occurrences come in the order of the commits."""
    wrong = []
    sequence_of = {sha256: sequence for sequence, _, sha256 in facts.log}
    for run, messages in by_run(first_occurrences(facts.observed)).items():
        ours = [(sequence_of[message["sha256"]], message) for message in messages if message["sha256"] in sequence_of]
        for (before, earlier), (after, later) in zip(ours, ours[1:]):
            if before > after:
                wrong.append(f"run {run}: {earlier['type']} (log {before}, line {earlier['n']}) came before {later['type']} "
                             f"(log {after}, line {later['n']})")
    return wrong


def check_runs(facts, events_of_a_run=EVENTS_OF_A_RUN):
    """Every run that anybody heard of has its events, each once: started first, one terminal event, as the last.
    `events_of_a_run`: how many of which type our roles publish, or a function from the run's id to that."""
    wrong = []
    observed = by_run(message for message in first_occurrences(facts.observed) if is_ours(message))
    for run in facts.runs.keys() - observed.keys():
        wrong.append(f"run {run} is in the database and nobody ever heard of it")
    for run, messages in observed.items():
        row = facts.runs.get(run)
        if row is None:
            wrong.append(f"run {run} was announced ({messages[0]['type']}) and is not in the database")
            continue
        types = Counter(message["type"] for message in messages)
        wanted = events_of_a_run(run) if callable(events_of_a_run) else events_of_a_run
        if types != wanted:
            more, less = types - wanted, wanted - types
            wrong.append(f"run {run} ({row['status']}): too many {dict(more)}, too few {dict(less)}")
        # What workers say may come at any time; what the orchestrator says has an order.
        own = [message["type"] for message in messages
               if message["type"] in (STARTED, STEP_COMPLETED, *TERMINAL, *REQUESTS)]
        if own and own[0] != STARTED:
            wrong.append(f"run {run} begins with {own[0]}")
        if own and own[-1] not in TERMINAL:
            wrong.append(f"run {run} ends with {own[-1]}")
        terminal = [name for name in own if name in TERMINAL]
        if len(terminal) > row["attempt"]:
            wrong.append(f"run {run} has {len(terminal)} terminal events in {row['attempt']} attempts: {terminal}")
        steps = Counter(_step(message) for message in messages if message["type"] == STEP_COMPLETED)
        for step, count in steps.items():
            if count > 1:
                wrong.append(f"run {run}: {count} step.completed of {step}")
    return wrong


def _step(message):
    return json.loads(message["body"])["data"]["stepType"], message["attempt"]


def check_triggers(facts):
    """Every trigger that the broker took led to exactly one run, or was absorbed by one and got its follow-up."""
    wrong = []
    runs_of_trigger = defaultdict(list)
    for run, row in facts.runs.items():
        runs_of_trigger[row["trigger"]].append(run)
        if row["status"] != "completed":
            wrong.append(f"run {run} of trigger {row['trigger']} is {row['status']}" +
                         ("" if row["wakes"] else " and nothing will wake it"))
    for trigger in facts.confirmed:
        row = facts.triggers.get(trigger.id)
        if row is None:
            wrong.append(f"trigger {trigger.id} for {trigger.opportunity} was confirmed and is lost")
        elif row["outcome"] == "started":
            if row["workflow"] not in facts.runs:
                wrong.append(f"trigger {trigger.id} for {trigger.opportunity} started {row['workflow']}, which is not there")
        elif row["outcome"] == "absorbed":
            if row["follow_up"] not in facts.runs:
                wrong.append(f"trigger {trigger.id} for {trigger.opportunity} was absorbed by {row['workflow']}; follow-up: {row['follow_up'] or 'none'}")
        else:
            wrong.append(f"trigger {trigger.id} for {trigger.opportunity} was {row['outcome']}: {row['reason']}")
        if len(runs_of_trigger[trigger.id]) > 1:
            wrong.append(f"trigger {trigger.id} for {trigger.opportunity} started {runs_of_trigger[trigger.id]}")
    known = {trigger.id for trigger in facts.confirmed}
    for id_ in facts.triggers.keys() - known:
        wrong.append(f"trigger {id_} is in the database and nobody sent it")
    # A run that no trigger names was started twice for one of them.
    named = {row["workflow"] for row in facts.triggers.values()} | {row["follow_up"] for row in facts.triggers.values()}
    for run in facts.runs.keys() - named:
        wrong.append(f"run {run} belongs to no trigger")
    return wrong


def check_ledger(facts):
    """Per tenant 0, 1, 2, …; each event that it is bound to once, with the bytes that were published; nothing else."""
    wrong = []
    wanted = {}
    for message in first_occurrences(facts.observed):
        if message["type"] in LEDGER_TYPES or (message["type"] or "").startswith("audit."):
            wanted[message["id"]] = message
    recorded = {}
    for tenant, entries in facts.ledger.items():
        indexes = [entry[0] for entry in entries]
        if indexes != list(range(len(entries))):
            gap = next(place for place, index in enumerate(indexes) if place != index)
            wrong.append(f"ledger of {tenant}: index {indexes[gap]} stands at place {gap}")
        for index, id_, type_, sha256 in entries:
            message = wanted.get(id_)
            if id_ in recorded:
                wrong.append(f"ledger of {tenant}: event {id_} ({type_}) at {recorded[id_]} and at {index}")
            recorded[id_] = index
            if message is None:
                wrong.append(f"ledger of {tenant}: event {id_} ({type_}) at {index} was never published")
            elif message["sha256"] != sha256:
                wrong.append(f"ledger of {tenant}: event {id_} ({type_}) at {index} has other bytes than were published")
            elif message["tenant"] != tenant:
                wrong.append(f"ledger of {tenant}: event {id_} ({type_}) at {index} is of tenant {message['tenant']}")
    for id_ in wanted.keys() - recorded.keys():
        wrong.append(f"event {id_} ({wanted[id_]['type']}) of run {wanted[id_]['workflowId']} is not in the ledger")
    return wrong


def check_nothing_aside(facts):
    return [f"dead letter: {text}" for text in facts.dead_letters] + [f"quarantine: {text}" for text in facts.quarantine]


def check_all(facts, events_of_a_run=EVENTS_OF_A_RUN):
    wrong = []
    for name, found in (("repeats", check_repeats(facts)), ("published", check_published(facts)),
                        ("order", check_order(facts)), ("runs", check_runs(facts, events_of_a_run)),
                        ("triggers", check_triggers(facts)), ("ledger", check_ledger(facts)),
                        ("aside", check_nothing_aside(facts))):
        wrong += [f"[{name}] {text}" for text in found]
    return wrong
