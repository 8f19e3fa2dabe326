"""`wfo serve` from outside: HTTP, the local socket, stopping, and what it refuses."""

import json
import signal
import time
import unittest
import uuid

from wfo import (COMPLETED, FAILED, SOURCE, STARTED, TENANT, Process, Server, eventually, export, run, run_json, temporary_folder,
                 write_pipeline)

WORKFLOWS = "/api/v1/workflows"


def updated(opportunity, changes=None, **other):
    return {"id": str(uuid.uuid4()), "type": "integration.opportunity.updated", "version": "1.0",
            "timestamp": "2026-03-01T09:30:00.000Z", "tenantId": TENANT, "source": {"service": "crm", "instance": "1"},
            "data": {"opportunityId": opportunity, **({"changes": changes} if changes else {})}, **other}


def ended(server, workflow):
    def run_of():
        status, found = server.ask("GET", f"{WORKFLOWS}/{workflow}")
        assert status == 200, found
        return found["status"] != "running" and found
    return eventually(run_of, f"the end of {workflow}")


class Serve(unittest.TestCase):
    def test_an_event_leads_to_a_completed_run_that_is_in_the_ledger(self):
        with temporary_folder() as data, Server(data) as server:
            event = updated("OPP-1", {"stage": "Negotiation", "state": "open", "amount": 1200, "owner": "ann"})
            self.assertEqual(server.ask("POST", "/api/v1/events", event)[0], 202)
            listed = eventually(lambda: server.ask("GET", f"{WORKFLOWS}?opportunityId=OPP-1")[1]["workflows"], "a run")
            self.assertEqual(len(listed), 1)
            found = ended(server, listed[0]["workflowId"])
            self.assertEqual(found["status"], "completed", found)
            self.assertEqual({step["type"] for step in found["steps"]},
                             {"risk_analysis", "risk_scoring", "forecast", "recommendation"})
            self.assertEqual(found["trigger"], {"type": event["type"], "id": event["id"]})
            history = eventually(lambda: len(export(data)) == 6 and export(data), "six entries")
            self.assertEqual([e["event"]["type"] for e in history][0::5], [STARTED, COMPLETED])
            self.assertEqual({e["event"]["metadata"]["correlationId"] for e in history}, {event["id"]})
            # The same event again starts nothing; other bytes under its id are refused.
            self.assertEqual(server.ask("POST", "/api/v1/events", event)[1]["status"], "duplicate")
            self.assertEqual(server.ask("POST", "/api/v1/events", {**event, "version": "2"})[0], 409)
            self.assertEqual(len(server.ask("GET", WORKFLOWS)[1]["workflows"]), 1)

    def test_an_array_of_events_gets_an_answer_each_and_our_own_types_are_refused(self):
        with temporary_folder() as data, Server(data) as server:
            own = updated("OPP-1")
            own["type"] = "workflow.step.completed"
            status, answers = server.ask("POST", "/api/v1/events", [updated("OPP-1"), own, {"type": 1}])
            self.assertEqual(status, 200)
            self.assertEqual([a["status"] for a in answers["results"]], ["accepted", "refused", "refused"])

    def test_an_idempotency_key_names_one_workflow(self):
        with temporary_folder() as data, Server(data) as server:
            body = {"opportunityId": "OPP-7", "changes": {"state": "open", "amount": 10}}
            key = {"Idempotency-Key": "k1"}
            status, first = server.ask("POST", WORKFLOWS, body, key)
            self.assertEqual(status, 202, first)
            self.assertEqual(server.ask("POST", WORKFLOWS, body, key)[1]["workflowId"], first["workflowId"])
            self.assertIn(server.ask("POST", WORKFLOWS, {"opportunityId": "OPP-8"}, key)[0], (409, 422))
            self.assertEqual(ended(server, first["workflowId"])["status"], "completed")

    def test_an_unknown_opportunity_fails_its_run_with_its_name_and_a_retry_completes_it(self):
        with temporary_folder() as data, Server(data) as server:
            started = server.ask("POST", WORKFLOWS, {"opportunityId": "NOBODY-KNOWS"})[1]
            failed = ended(server, started["workflowId"])
            self.assertEqual(failed["status"], "failed")
            self.assertIn("NOBODY-KNOWS", failed["error"] + json.dumps(failed["steps"]))
            status, answer = server.ask("POST", f"{WORKFLOWS}/{started['workflowId']}/cancel", {"reason": "late"})
            self.assertEqual(status, 409, answer)
            server.ask("POST", "/api/v1/events", updated("NOBODY-KNOWS", {"state": "open", "amount": 5}))
            eventually(lambda: [r["status"] for r in server.ask("GET", WORKFLOWS)[1]["workflows"]] == ["completed", "failed"],
                       "the end of the event's run")
            self.assertEqual(server.ask("POST", f"{WORKFLOWS}/{started['workflowId']}/retry", {})[0], 200)
            again = ended(server, started["workflowId"])
            self.assertEqual((again["status"], again["attempt"]), ("completed", 2))
            types = eventually(lambda: (t := [e["event"]["type"] for e in export(
                data, "--workflow", started["workflowId"])]) and t[-1] == COMPLETED and t, "the second end")
            self.assertEqual([types.count(t) for t in (STARTED, FAILED, COMPLETED)], [2, 1, 1])

    def test_no_request_reaches_another_tenant(self):
        with temporary_folder() as data, Server(data) as server:
            started = server.ask("POST", WORKFLOWS, {"opportunityId": "OPP-1"})[1]
            other = {"X-Tenant-Id": "00000000-0000-4000-8000-0000000000ff"}
            self.assertEqual(server.ask("GET", f"{WORKFLOWS}/{started['workflowId']}", headers=other)[0], 404)
            self.assertEqual(server.ask("POST", f"{WORKFLOWS}/{started['workflowId']}/cancel", {"reason": "x"}, other)[0],
                             404)
            self.assertEqual(server.ask("GET", WORKFLOWS, headers=other)[1]["workflows"], [])

    def test_bad_requests_are_answered_and_named(self):
        with temporary_folder() as data, Server(data) as server:
            for method, path, body, status in [
                    ("GET", "/nothing", None, 404), ("DELETE", WORKFLOWS, None, 405), ("POST", WORKFLOWS, "{", 400),
                    ("POST", WORKFLOWS, "{}", 400), ("POST", WORKFLOWS, {"opportunityId": ""}, 400),
                    ("POST", WORKFLOWS, {"opportunityId": "a", "colour": "red"}, 400),
                    ("GET", f"{WORKFLOWS}?limit=0", None, 400), ("GET", f"{WORKFLOWS}?color=red", None, 400),
                    ("GET", f"{WORKFLOWS}/no-uuid", None, 404), ("GET", f"{WORKFLOWS}/{uuid.uuid4()}", None, 404),
                    ("POST", WORKFLOWS, "x" * (1024 * 1024 + 1), 413), ("POST", "/api/v1/events", "[]", 400)]:
                got, answer = server.ask(method, path, body)
                self.assertEqual(got, status, (method, path, answer))
                self.assertTrue(answer["error"]["message"], (method, path, answer))
            chunked = server.raw(b"POST /api/v1/workflows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                 b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                                 b"19\r\n{\"opportunityId\":\"OPP-1\"}\r\n0\r\n\r\n")
            self.assertIn(b"HTTP/1.1 202", chunked)
            pipelined = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                   b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertEqual(pipelined.count(b"HTTP/1.1 200"), 2)
            status, metrics = server.ask("GET", "/metrics")
            self.assertEqual(status, 200)
            self.assertIn("http_requests_total", metrics)

    def test_a_second_process_goes_through_the_first_ones_socket(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 40)
            with Server(data):
                summary = run_json("analyze", file, "--data-dir", data)
                self.assertEqual(summary["runs"]["completed"], 40)
                self.assertEqual(len(run_json("workflows", "list", "--data-dir", data, "--limit", 100)["workflows"]), 40)
                second = run("serve", "--data-dir", data, "--port", 0, code=1)
                self.assertIn(str(data), second.stderr)
            # Killed: its socket file is left behind, and in nobody's way.
            self.assertEqual(len(run_json("workflows", "list", "--data-dir", data, "--limit", 100)["workflows"]), 40)

    def test_verbs_that_run_at_once_share_the_directory(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 400)
            with Process("analyze", file, "--data-dir", data, "--quiet") as analysis:
                eventually((data / "wfo.db").exists, "an installation")
                while analysis.alive():
                    run("workflows", "list", "--limit", 1, "--data-dir", data)
                self.assertEqual(analysis.wait(), 0, "".join(analysis.errors))
            for _ in range(5):
                searches = [Process("audit", "search", "--limit", 1, "--data-dir", data) for _ in range(4)]
                for search in searches:
                    with search:
                        self.assertEqual(search.wait(), 0, "".join(search.errors))

    def test_sigterm_and_sigint_stop_it_within_ten_seconds_with_nothing_lost(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number), temporary_folder() as folder:
                data, file = folder / "data", folder / "pipeline.csv"
                write_pipeline(file, 600)
                with Server(data) as server:
                    with Process("analyze", file, "--data-dir", data, "--quiet") as client:
                        eventually(lambda: len(server.ask("GET", f"{WORKFLOWS}?limit=100")[1]["workflows"]) == 100, "work")
                        begun = time.monotonic()
                        server.signal(number)
                        self.assertEqual(server.wait(), 0, "".join(server.errors))
                        self.assertLess(time.monotonic() - begun, 10)
                        client.wait()
                summary = run_json("analyze", file, "--data-dir", data)
                self.assertEqual((summary["runs"]["completed"], summary["runs"]["failed"]), (600, 0))

    def test_timers_survive_a_restart(self):
        with temporary_folder() as data:
            definition = data / "impatient.yaml"
            text = (SOURCE / "workflows/opportunity-analysis.yaml").read_text()
            definition.write_text(text.replace("timeout: 5m", "timeout: 1s").replace("version: 1.0.0", "version: 1.0.1")
                                  .replace("attempts_max: 3", "attempts_max: 1"))
            settings = ["--set", f"workflows.definitions={definition}"]
            # Without the roles that answer.
            with Server(data, "--roles", "workflow-orchestrator,logging", *settings) as server:
                started = server.ask("POST", WORKFLOWS, {"opportunityId": "OPP-1"})[1]
                server.kill()
            with Server(data, "--roles", "workflow-orchestrator,logging", *settings) as server:
                failed = ended(server, started["workflowId"])
                self.assertEqual(failed["status"], "failed")
                self.assertIn("no answer within 1s", failed["error"])

    def test_it_listens_on_loopback_only_and_refuses_what_it_cannot_use(self):
        with temporary_folder() as folder:
            refused = run("serve", "--data-dir", folder / "a", "--set", "http.host=0.0.0.0", code=2)
            self.assertIn("0.0.0.0", refused.stderr)
            (folder / "file").write_text("")
            no_folder = run("serve", "--data-dir", folder / "file", code=None)
            self.assertIn(no_folder.returncode, (2, 5))
            self.assertIn(str(folder / "file"), no_folder.stderr)
            bad = run("config", "check", "--set", "http.port=70000", code=2)
            self.assertIn("70000", bad.stderr)
            self.assertIn("65535", bad.stderr)
            run("nonsense", code=2)
            self.assertEqual(run("workflows", "show", str(uuid.uuid4()), "--data-dir", folder / "b", code=3).stdout, "")

    def test_a_disk_below_the_mark_takes_no_new_work_and_says_so(self):
        with temporary_folder() as data, Server(data, "--set", "store.disk_free_min=1000000GiB") as server:
            status, ready = server.ask("GET", "/ready")
            self.assertEqual(status, 503)
            self.assertIn("free", json.dumps(ready))
            self.assertEqual(server.ask("GET", "/health")[0], 200)
            self.assertEqual(server.ask("POST", WORKFLOWS, {"opportunityId": "OPP-1"})[0], 503)
            self.assertEqual(server.ask("POST", "/api/v1/events", updated("OPP-1"))[0], 503)


if __name__ == "__main__":
    unittest.main()
