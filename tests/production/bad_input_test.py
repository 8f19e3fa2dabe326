"""What others send by mistake or on purpose is set aside with its reason, each where the design says, and nothing behind it
waits: from a role's queue to the dead letters, from the ledger's to its quarantine. A mended one comes back under a new id."""

import base64
import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import uuid
from pathlib import Path

import invariants
from installation import Installation, wait_until
from invariants import COMPLETED, STARTED
from neighbours import publish
from place import Place
from triggers import TENANTS, trigger

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from servers import Servers  # noqa: E402
from wfo import BINARY  # noqa: E402

TENANT = TENANTS[0]
SYSTEM = "00000000-0000-0000-0000-000000000001"  # what cannot be read belongs to no tenant, so to the installation
TRIGGER = "integration.opportunity.updated"
ROLE_QUEUE, LEDGER_QUEUE = "workflow_orchestrator_service", "logging_service"
HUGE_BYTES = 20 * 1024 * 1024
ODD_HEADERS = {"tenantId": 17, "version": None, "traceparent": [1, {"a": True}], "x-schema": {"id": 1.5, "deep": {"er": [None]}},
               "x-death": "yesterday", "at": {"!": "timestamp", "value": 99999999999}, "tiny": {"!": "int8", "value": -3},
               "float": {"!": "float", "value": 0.1}, "ü\u0001": "ü\u0001", "": ""}


def raw(body, routing_key=TRIGGER, queue=None, **properties):
    """A message of any bytes."""
    body = body if isinstance(body, bytes) else body.encode()
    message = {"routingKey": routing_key, "base64": base64.b64encode(body).decode(), "properties": properties}
    return {**message, "queue": queue} if queue else message


def good(number, **changes):
    """A trigger as others send it, of TENANT, with members replaced (None: left out)."""
    event = trigger(random.Random(number), number * 12, tenant=TENANT)[0]["event"]  # of one form
    for key, value in changes.items():
        if value is None:
            event.pop(key, None)
        else:
            event[key] = value
    return event


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = Servers()
        cls.servers.__enter__()
        cls.addClassCleanup(cls.servers.__exit__)

    def setUp(self):
        name = self.id().rpartition(".")[2].removeprefix("test_")
        self.folder = Path(tempfile.mkdtemp(prefix="wfo-bad-input-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.place = Place(self.servers, name[:50])
        self.installation = self.enterContext(Installation(self.place, self.folder))
        self.installation.observe()
        self.replica = self.installation.replica("all-roles")
        self.installation.start(self.replica)

    def publish(self, *messages):
        publish(self.place.bus_url, self.folder, list(messages))

    def wfo(self, *arguments, code=0):
        done = subprocess.run([BINARY, *arguments, "--data-dir", str(self.replica.data), "--output", "json"],
                              capture_output=True, text=True, timeout=120, env={**os.environ, **self.replica.environment}, check=False)
        self.assertEqual(done.returncode, code, f"wfo {' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def run_of(self, trigger_id):
        """The completed run that this trigger started."""
        def found():
            rows = self.place.query(f"SELECT r.id FROM wfo.triggers t JOIN wfo.runs r ON r.id = t.workflow "
                                    f"WHERE t.id = '{trigger_id}' AND t.outcome = 0 AND r.status = 1")
            return rows and rows[0][0]
        try:
            return wait_until(found, f"a completed run of trigger {trigger_id}")
        except AssertionError as error:
            self.fail(f"{error}\n{self.replica.tail(40)}")

    def letters(self, queue=ROLE_QUEUE):
        """(tenant, type, reason, headers, length, bytes' sha256), the oldest first."""
        return self.place.query("SELECT tenant, type, reason, headers, length(bytes), encode(sha256(bytes), 'hex'), id "
                                f"FROM wfo.dead_letters WHERE queue = '{queue}' ORDER BY created_at, id")

    def assert_moves_on(self, number):
        """A good trigger that comes behind all that was sent is worked on, and nothing stays in a queue."""
        event = good(number)
        self.publish({"routingKey": TRIGGER, "event": event})
        self.run_of(event["id"])
        left = {}

        def is_empty():
            nonlocal left
            left = {queue: count for queue, count in self.place.queues().items() if count}
            return not left
        wait_until(is_empty, "queues are empty")
        self.assertTrue(self.replica.alive(), self.replica.tail())

    def test_what_a_role_cannot_understand_becomes_a_dead_letter_with_its_reason(self):
        known = good(1)
        self.publish({"routingKey": TRIGGER, "event": known})
        first_run = self.run_of(known["id"])
        text = json.dumps(good(2))
        forged = copy.deepcopy(known)
        forged["data"]["changes"]["amount"] = 1
        unknown_type = good(3, type="integration.contact.updated")
        other_tenant = good(4, tenantId=TENANTS[1])
        other_tenant["data"]["tenantId"] = TENANTS[2]
        number = good(5)
        number["data"]["opportunityId"] = 5
        bad_change = good(6)
        bad_change["data"]["changes"]["amount"] = "much"
        cases = [  # name, message, tenant of the letter, what the reason says
            ("not JSON", raw("hello"), SYSTEM, r"not JSON"),
            ("nothing", raw(b""), SYSTEM, r"not JSON"),
            ("truncated", raw(text[:len(text) // 2]), SYSTEM, r"not JSON.*line 1"),
            ("20 MiB", raw('{"a":"' + "x" * HUGE_BYTES + '"}'), SYSTEM, r"2097\d{4} bytes.*limit|larger|limit"),
            ("invalid UTF-8", raw(text.encode().replace(b"Deal", b"De\xc3\x28l")), SYSTEM, r"UTF-8"),
            ("U+0000", raw(text.replace("Deal", "De\\u0000al")), SYSTEM, r"U\+0000|u0000|NUL"),
            ("a list", raw("[1]"), SYSTEM, r"object"),
            ("no type", raw(json.dumps(good(7, type=None))), SYSTEM, r"type"),
            ("unknown type, directly", raw(json.dumps(unknown_type), queue=ROLE_QUEUE), TENANT, r"integration\.contact\.updated"),
            ("broken schema", raw(json.dumps(number)), SYSTEM, r"/data/opportunityId"),
            ("no data", raw(json.dumps(good(8, data=None))), SYSTEM, r"data"),
            ("no tenant", raw(json.dumps(good(9, tenantId=None))), SYSTEM, r"tenantId"),
            ("two tenants", raw(json.dumps(other_tenant)), SYSTEM, r"/data/tenantId"),
            ("tenant is no uuid", raw(json.dumps(good(10, tenantId="acme"))), SYSTEM, r"tenantId.*acme"),
            ("no id at all", raw(json.dumps(good(11, id=None))), SYSTEM, r"id"),
            ("message_id is no uuid", raw(json.dumps(good(12, id=None)), messageId="17"), SYSTEM, r"id"),
            ("id is no uuid", raw(json.dumps(good(13, id="17"))), SYSTEM, r"/id"),
            ("a change that no field can hold", raw(json.dumps(bad_change)), TENANT, r"amount"),
            ("odd headers", raw("hello", headers=ODD_HEADERS), SYSTEM, r"not JSON"),
            ("directly", raw("hello", queue=ROLE_QUEUE), SYSTEM, r"not JSON"),
            ("forged", raw(json.dumps(forged)), TENANT, re.escape(known["id"]) + r"|other bytes"),
        ]
        for case in cases:
            self.publish(case[1])
        self.assert_moves_on(20)

        letters = {row[5]: row for row in self.letters()}
        for name, message, tenant, reason in cases:
            with self.subTest(name):
                body = base64.b64decode(message["base64"])
                row = letters.get(invariants.digest(body))
                if name == "20 MiB":  # how much of it is kept is a matter of limits
                    row = next((one for one in letters.values() if re.search(r"2097\d{4}", one[2])), None)
                self.assertIsNotNone(row, f"no dead letter; there are {[one[2] for one in letters.values()]}\n{self.replica.tail()}")
                self.assertRegex(row[2], reason)
                self.assertEqual(row[0], tenant)
                json.loads(row[3])
        bodies = {invariants.digest(base64.b64decode(message["base64"])) for _, message, _, _ in cases}
        self.assertEqual(len(self.letters()), len(cases), [row[2] for row in self.letters() if row[5] not in bodies])
        # The forgery changed nothing.
        self.assertEqual(self.place.query(f"SELECT count(*) FROM wfo.triggers WHERE id = '{known['id']}'"), [["1"]])
        self.assertEqual(self.place.query(f"SELECT status FROM wfo.runs WHERE id = '{first_run}'"), [["1"]])
        # Nor is anything of it anywhere else.
        self.assertEqual(self.place.query("SELECT reason FROM wfo_ledger.quarantine"), [])
        dead = {queue: count for queue, count in self.place.queues().items() if queue.endswith(".dlq") and count}
        self.assertEqual(dead, {}, "messages lie in the net")

    def test_what_is_odd_and_can_be_understood_is_worked_on(self):
        by_message_id = str(uuid.uuid4())
        odd = good(1)
        direct = good(2)
        bare = good(3, version=None, timestamp=None, source=None)
        cases = {
            "no id but message_id": (raw(json.dumps(good(4, id=None)), messageId=by_message_id), by_message_id),
            "headers of odd types": (raw(json.dumps(odd), headers=ODD_HEADERS, correlationId="x" * 255, type="of no meaning",
                                         appId="ü", timestamp=0, contentType="text/plain", contentEncoding="none"), odd["id"]),
            "directly to the queue": (raw(json.dumps(direct), queue=ROLE_QUEUE), direct["id"]),
            "no version, time and source": (raw(json.dumps(bare)), bare["id"]),
        }
        for message, _ in cases.values():
            self.publish(message)
        for name, (_, id_) in cases.items():
            with self.subTest(name):
                self.run_of(id_)
        self.assertEqual(self.letters(), [])

    def test_what_the_ledger_cannot_understand_is_quarantined_and_what_it_does_not_know_is_recorded(self):
        def event(type_, **data):
            return {"id": str(uuid.uuid4()), "type": type_, "version": "1.0.0", "timestamp": "2026-03-02T09:30:00.000Z",
                    "tenantId": TENANT, "source": "elsewhere", "data": data}
        recorded = [event("audit.custom.thing", anything=[1, None]), event("audit.other")]
        del recorded[1]["data"]
        first = event("audit.custom.first", a=1)
        other_bytes = {**first, "data": {"a": 2}}
        cases = [
            ("not JSON", raw("hello", "audit.hello"), r"not JSON"),
            ("truncated", raw(json.dumps(event("audit.x"))[:40], "audit.x"), r"not JSON"),
            ("20 MiB", raw('{"a":"' + "x" * HUGE_BYTES + '"}', "audit.huge"), r"2097\d{4}"),
            ("invalid UTF-8", raw(b'{"type":"\xff"}', "audit.bytes"), r"UTF-8"),
            ("no tenant", raw(json.dumps({**event("audit.x"), "tenantId": None}), "audit.x"), r"tenantId"),
            ("broken schema", raw(json.dumps(event(STARTED, opportunityId="17")), STARTED), r"workflowId"),
            ("no id", raw(json.dumps({**event("audit.x"), "id": None}), "audit.x"), r"id"),
            ("directly", raw("hello, ledger", queue=LEDGER_QUEUE), r"not JSON"),
            ("forged", raw(json.dumps(other_bytes), "audit.custom.first"), re.escape(first["id"]) + r"|other bytes"),
        ]
        self.publish({"routingKey": first["type"], "event": first})
        wait_until(lambda: self.place.query("SELECT 1 FROM wfo_ledger.entries"), "the first entry")
        for _, message, _ in cases:
            self.publish(message)
        for one in recorded:
            self.publish({"routingKey": one["type"], "event": one})
        self.assert_moves_on(20)
        wait_until(lambda: int(self.place.query("SELECT count(*) FROM wfo_ledger.entries")[0][0]) >= 3 + 6, "the ledger has all")

        quarantine = [(row[0], row[1]) for row in self.place.query(
            "SELECT reason, encode(sha256(bytes), 'hex') FROM wfo_ledger.quarantine ORDER BY message")]
        for name, message, reason in cases:
            with self.subTest(name):
                sha256 = invariants.digest(base64.b64decode(message["base64"]))
                found = [why for why, digest in quarantine
                         if digest == sha256 or (name == "20 MiB" and re.search(reason, why))]
                self.assertEqual(len(found), 1, quarantine)
                self.assertRegex(found[0], reason)
        self.assertEqual(len(quarantine), len(cases), quarantine)
        entries = self.installation.exported(TENANT)
        self.assertEqual([entry[0] for entry in entries], list(range(len(entries))))
        kept = {entry[1] for entry in entries}
        for one in [first, *recorded]:
            self.assertIn(one["id"], kept, one["type"])
        self.assertEqual(self.place.query("SELECT queue, reason FROM wfo.dead_letters"), [])

    def test_a_mended_dead_letter_comes_back_under_a_new_id_and_its_run_starts(self):
        broken = good(1)
        broken["data"]["changes"]["amount"] = "much"
        truncated = json.dumps(good(2))[:-2]
        self.publish({"routingKey": TRIGGER, "event": broken}, raw(truncated))
        wait_until(lambda: len(self.letters()) == 2, "two dead letters")

        # Everybody sees his own; what nobody can read is the installation's.
        self.assertEqual(self.wfo("dead-letters", "list", "--tenant", TENANTS[1])["deadLetters"], [])
        letter, = self.wfo("dead-letters", "list", "--tenant", TENANT)["deadLetters"]
        other, = self.wfo("dead-letters", "list", "--tenant", SYSTEM)["deadLetters"]
        self.assertEqual((letter["queue"], other["queue"]), (ROLE_QUEUE, ROLE_QUEUE))
        self.assertRegex(letter["reason"], "amount")
        shown = self.wfo("dead-letters", "show", letter["id"], "--tenant", TENANT)
        self.assertEqual(json.loads(shown["body"]), broken)

        # Nor can others bring it back.
        self.wfo("dead-letters", "replay", letter["id"], "--tenant", TENANTS[1], code=3)
        mended = copy.deepcopy(broken)
        mended["data"]["changes"]["amount"] = 4711
        file = self.folder / "mended.json"
        file.write_text(json.dumps(mended), encoding="utf-8")
        replayed = self.wfo("dead-letters", "replay", letter["id"], "--body", str(file), "--tenant", TENANT)
        self.assertEqual(replayed["status"], "replayed")
        new_id = replayed["replayedAs"]
        self.assertNotEqual(new_id, broken["id"])
        run = self.run_of(new_id)
        again = wait_until(lambda: [message for message in self.installation.observer.messages() if message["id"] == new_id],
                           "the observer sees the mended event")
        event = json.loads(again[0]["body"])
        self.assertEqual(event["metadata"]["causationId"], broken["id"])
        self.assertEqual(event["data"], mended["data"])
        self.assertEqual(again[0]["routingKey"], TRIGGER)
        self.assertEqual(self.place.query(f"SELECT count(*) FROM wfo.triggers WHERE id = '{broken['id']}'"), [["0"]])
        file.write_text(truncated + '"}', encoding="utf-8")
        self.assertEqual(json.loads(file.read_text())["tenantId"], TENANT)
        second = self.wfo("dead-letters", "replay", other["id"], "--body", str(file), "--tenant", SYSTEM)
        self.run_of(second["replayedAs"])
        completed = wait_until(lambda: [message for message in self.installation.observer.messages()
                                        if message["type"] == COMPLETED and message["workflowId"] == run], "the run's end")
        self.assertEqual(len({message["id"] for message in completed}), 1)
        for tenant in (TENANT, SYSTEM):
            self.assertEqual(self.wfo("dead-letters", "list", "--status", "waiting", "--tenant", tenant)["deadLetters"], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
