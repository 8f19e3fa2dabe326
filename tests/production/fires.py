"""What must hold of schedules, judged from outside: every expected fire has one record, each triggered one has one trigger and one
run, and nothing else has. Which fires are expected is reckoned here, without the program. Sentences about what is wrong, as in
invariants.py."""

import datetime
import json
from collections import Counter
from dataclasses import dataclass
from typing import Callable

import invariants

TRIGGER, JOB_COMPLETED, JOB_FAILED = "workflow.job.trigger", "workflow.job.completed", "workflow.job.failed"
SYSTEM = "00000000-0000-0000-0000-000000000001"
TRIGGERED, BUFFERED, SKIPPED = "triggered", "buffered", "skipped"
OUTCOMES = [TRIGGERED, BUFFERED, SKIPPED]
CAUSES = ["due", "catch_up", "released", "backfill", "overlap", "buffer_full", "outside_window", "paused", "superseded"]
STATUSES = ["pending", "queued", "running", "completed", "failed", "cancelled"]
# What a policy may make of a fire, if the schedule is never paused.
ALLOWED = {
    "allow_all": {(TRIGGERED, "due"), (TRIGGERED, "catch_up")},
    "skip": {(TRIGGERED, "due"), (TRIGGERED, "catch_up"), (SKIPPED, "overlap")},
    "buffer_one": {(TRIGGERED, "due"), (TRIGGERED, "catch_up"), (TRIGGERED, "released"), (SKIPPED, "overlap")},
    "buffer_all": {(TRIGGERED, "due"), (TRIGGERED, "catch_up"), (TRIGGERED, "released"), (SKIPPED, "overlap")},
    "cancel_other": {(TRIGGERED, "due"), (TRIGGERED, "catch_up"), (SKIPPED, "superseded")},
}


@dataclass
class Wanted:
    """A schedule, and what its expressions mean."""
    name: str
    job: str
    overlap: str
    is_fire: Callable  # of a second since 1970
    created_ms: int = 0
    window_is_0: bool = False


@dataclass
class Record:
    """A row of the fire ledger."""
    first_ms: int
    last_ms: int
    count: int
    outcome: str
    cause: str
    run: str | None


@dataclass
class Run:
    id: str
    status: str
    scheduled_ms: int | None
    trigger: str


def triggers_of(messages, schedule):
    """The triggers whose metadata name the schedule, each once: (event id, runId, scheduledFor)."""
    found = []
    for message in messages:
        if message["type"] == TRIGGER and invariants.is_ours(message):
            data = json.loads(message["body"])["data"]
            if data["metadata"].get("schedule") == schedule:
                found.append((message["id"], data["runId"], data["scheduledFor"]))
    return found


def check_account(wanted, records, until_ms=None):
    """`records`: all of the schedule. From its creation to the last of them, and to `until_ms`, no fire is without record and none
    has two."""
    name, wrong = wanted.name, []
    if not records and until_ms is None:
        return [f"{name}: no fire at all"]
    allowed = ALLOWED[wanted.overlap] | ({(SKIPPED, "outside_window")} if wanted.window_is_0 else set())
    seen = Counter()
    for record in records:
        what = f"{name}: {record}"
        if (record.outcome, record.cause) not in allowed:
            wrong.append(f"{what}: {record.outcome} by {record.cause} is not what {wanted.overlap} does")
        if record.first_ms % 1000 or record.last_ms % 1000:
            wrong.append(f"{what}: not a whole second")
        seconds = [second for second in range(record.first_ms // 1000, record.last_ms // 1000 + 1) if wanted.is_fire(second)]
        seen.update(seconds)
        if len(seconds) != record.count:
            wrong.append(f"{what}: {len(seconds)} fires are expected between first and last")
        if not seconds or seconds[0] * 1000 != record.first_ms or seconds[-1] * 1000 != record.last_ms:
            wrong.append(f"{what}: first and last are no fires of it")
        if (record.outcome != SKIPPED) and record.count != 1:
            wrong.append(f"{what}: {record.outcome} ones have a row each")
        if (record.run is not None) != (record.outcome == TRIGGERED):
            wrong.append(f"{what}: run {record.run}")
    for second, count in sorted(seen.items()):
        if count > 1:
            wrong.append(f"{name}: the fire of {second} has {count} records")
    last = max(max(seen, default=0), int(until_ms or 0) // 1000)
    for second in range(wanted.created_ms // 1000 + 1, last + 1):
        if wanted.is_fire(second) and second not in seen:
            wrong.append(f"{name}: the fire of {second} ({last - second} s before the last) has no record")
    for second in seen:
        if second * 1000 <= wanted.created_ms:
            wrong.append(f"{name}: the fire of {second} is older than the schedule")
    return wrong


def check_triggers(wanted, records, runs, triggers):
    """`triggers`: triggers_of(first occurrences); `runs`: all of the schedule."""
    name, wrong = wanted.name, []
    by_run = {run.id: run for run in runs}
    triggered = {record.run: record for record in records if record.outcome == TRIGGERED}
    of_run = Counter(run for _, run, _ in triggers)
    for run, record in triggered.items():
        if of_run[run] != 1:
            wrong.append(f"{name}: the fire of {record.first_ms} (run {run}) has {of_run[run]} triggers")
        row = by_run.get(run)
        if row is None:
            wrong.append(f"{name}: the fire of {record.first_ms} names run {run}, which is not there")
        elif row.scheduled_ms != record.first_ms:
            wrong.append(f"{name}: run {run} is for {row.scheduled_ms}, its fire is of {record.first_ms}")
    for run in by_run.keys() - triggered.keys():
        wrong.append(f"{name}: run {run} belongs to no fire")
    fires = Counter(fire for _, _, fire in triggers)
    for fire, count in fires.items():
        if count > 1:
            wrong.append(f"{name}: {count} triggers for {fire}")
    for id_, run, fire in triggers:
        row = by_run.get(run)
        if row is None or run not in triggered:
            wrong.append(f"{name}: trigger {id_} for {fire} names run {run}, which no fire has")
        elif row.trigger != id_:
            wrong.append(f"{name}: run {run} is of trigger {row.trigger}, but {id_} was published")
        elif parse_ms(fire) != row.scheduled_ms:
            wrong.append(f"{name}: trigger {id_} is for {fire}, its run for {row.scheduled_ms}")
    return wrong


def check_ends(runs, messages):
    """Each run has ended, once; what of ours says so is one event, and none where its worker had said it.
    `messages`: first occurrences."""
    wrong, ends = [], Counter()
    for message in messages:
        if message["type"] in (JOB_COMPLETED, JOB_FAILED):
            ends[json.loads(message["body"])["data"].get("runId"), message["type"], invariants.is_ours(message)] += 1
    for run in runs:
        said_by_worker = ends[run.id, JOB_COMPLETED, False]
        ours = ends[run.id, JOB_FAILED, True] + ends[run.id, JOB_COMPLETED, True]
        if run.status == "completed":
            if not said_by_worker or ours:
                wrong.append(f"run {run.id} is completed: {said_by_worker} times said by its worker, {ours} times by us")
        elif run.status == "cancelled":
            if ends[run.id, JOB_FAILED, True] != 1 or ours != 1:
                wrong.append(f"run {run.id} is cancelled: {ours} events of ours say how it ended")
        else:
            wrong.append(f"run {run.id} is {run.status}")
    return wrong


def parse_ms(text):
    """An RFC 3339 time as ours are written."""
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
