"""`wfo serve` on PostgreSQL and RabbitMQ, from outside: roles as processes, replicas, servers that go away and come back,
and everything that must be refused with a word on what to do, and without a password."""

import json
import re
import signal
import sys
import time
import unittest
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "production"))
from place import Place  # noqa: E402
from servers import Servers  # noqa: E402
from wfo import (COMPLETED, FAILED, STARTED, Process, Server, check_history, eventually, run, temporary_folder,  # noqa: E402
                 write_pipeline)

WORKFLOWS = "/api/v1/workflows"
ROLES = ["workflow-orchestrator", "risk-analytics", "forecasting", "recommendations", "logging"]
KNOWN = {"state": "open", "amount": 1200, "stage": "Engaging"}
SECRET = "s3cret-P4ss"

SERVERS = Servers()
PLACES = iter(range(1, 1000))


def setUpModule():
    SERVERS.__enter__()


def tearDownModule():
    SERVERS.__exit__()


def new_place():
    return Place(SERVERS, f"serve{next(PLACES)}")


def environment(place, **more):
    return {"WFO_STORE_URL": place.store_url, "WFO_BUS_URL": place.bus_url, **more}


def with_password(url, password):
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{password}@{parts.hostname}:{parts.port}").geturl()


def with_host(url, host, port):
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{SECRET}@{host}:{port}").geturl()


def said(process):
    return "".join(process.errors)


def ended(server, workflow):
    def look():
        status, shown = server.ask("GET", f"{WORKFLOWS}/{workflow}")
        return status == 200 and shown["status"] != "running" and shown
    return eventually(look, f"the end of {workflow}")


def start(server, opportunity):
    """Starts a run and returns its id; tries again while the store is away."""
    def ask():
        status, answer = server.ask("POST", WORKFLOWS, {"opportunityId": opportunity, "changes": KNOWN})
        return status == 202 and answer["workflowId"]
    return eventually(ask, f"a run of {opportunity}")


def not_ready(server):
    status, answer = server.ask("GET", "/ready")
    return "" if status == 200 else answer["error"]["message"]


def ready(server):
    return eventually(lambda: not not_ready(server), "readiness")


def export(env, *arguments):
    return [json.loads(line) for line in run("audit", "export", *arguments, env=env).stdout.splitlines()]


def whole_export(env, count):
    """All entries of the ledger, once it has as many."""
    return eventually(lambda: (entries := export(env)) and len(entries) >= count and entries, f"{count} entries")


class Serving(unittest.TestCase):
    def assert_no_secret(self, text):
        for url in (SERVERS.store_url, SERVERS.bus_url):
            self.assertNotIn(urlsplit(url).password, text)
        self.assertNotIn(SECRET, text)

    def test_one_process_says_on_what_it_stands_and_does_all_the_work(self):
        place, env = (p := new_place()), environment(p)
        with temporary_folder() as folder, Server(folder, env=env) as server:
            ready(server)
            workflow = start(server, "OPP-1")
            self.assertEqual(ended(server, workflow)["status"], "completed")
            types = [entry["event"]["type"] for entry in whole_export(env, 6)]
            self.assertEqual((types[0], types[-1], len(types)), (STARTED, COMPLETED, 6))
            # Verbs of other processes ask the database.
            shown = json.loads(run("workflows", "show", workflow, "--output", "json", env=env).stdout)
            self.assertEqual(shown["status"], "completed")
            self.assertIn(workflow, run("audit", "search", env=env).stdout)
            self.assertEqual(run("dead-letters", "list", env=env).stderr, "")
            self.assertEqual(server.stop(), 0)
            text = said(server)
            port = SERVERS.postgres_port
            self.assertRegex(text, rf"store: PostgreSQL 15\.\S+ .*127\.0\.0\.1:{port}, database {place.name}, schema wfo version \d")
            self.assertRegex(text, r"ledger: PostgreSQL 15.*schema wfo_ledger version \d")
            self.assertRegex(text, rf"RabbitMQ 3\.\S+ at 127\.0\.0\.1:{SERVERS.rabbitmq_port}")
            self.assert_no_secret(text)

    def test_the_ledger_may_lie_in_another_database_with_another_role(self):
        env = environment(new_place(), WFO_LEDGER_URL=SERVERS.ledger_url)
        with temporary_folder() as folder, Server(folder, env=env) as server:
            self.assertEqual(ended(server, start(server, "OPP-1"))["status"], "completed")
            whole_export(env, 6)
            database = urlsplit(SERVERS.ledger_url).path[1:]
            self.assertEqual(SERVERS.psql("SELECT count(*) FROM wfo_ledger.entries", database), [["6"]])
            self.assertIn(f"database {database}", said(server))

    def test_each_role_is_a_process_of_its_own(self):
        env = environment(new_place())
        with temporary_folder() as folder:
            file = folder / "pipeline.csv"
            write_pipeline(file, 60)
            servers = [Server(folder / role, "--roles", role, env=env) for role in ROLES]
            for server in servers:
                server.__enter__()
            try:
                done = run("analyze", file, "--data-dir", folder / "client", "--output", "json", env=env)
                self.assertEqual(json.loads(done.stdout)["runs"]["completed"], 60)
                check_history(self, whole_export(env, 60 * 6), 60)
                for server in servers:
                    self.assertEqual(server.stop(), 0, said(server))
                    self.assert_no_secret(said(server))
            finally:
                for server in servers:
                    server.__exit__()

    def test_the_others_do_the_work_of_one_that_is_killed(self):
        env = environment(new_place())
        with temporary_folder() as folder:
            file = folder / "pipeline.csv"
            write_pipeline(file, 200)
            with Server(folder / "a", env=env) as first, Server(folder / "b", env=env) as second, \
                    Server(folder / "c", env=env) as third:
                with Process("analyze", file, "--data-dir", folder / "client", "--quiet", env=env) as client:
                    eventually(lambda: len(first.ask("GET", f"{WORKFLOWS}?limit=100&status=completed")[1]["workflows"]) >= 20,
                               "some runs")
                    first.kill()
                    self.assertEqual(client.wait(), 0, said(client))
                check_history(self, whole_export(env, 200 * 6), 200)
                self.assertEqual((second.stop(), third.stop()), (0, 0))

    def test_who_asks_while_nobody_serves_is_told_so_and_gets_an_answer_when_somebody_does(self):
        env = environment(new_place())
        with temporary_folder() as folder:
            file = folder / "pipeline.csv"
            write_pipeline(file, 5)
            with Process("analyze", file, "--data-dir", folder / "client", "--quiet", env=env) as client:
                eventually(lambda: "wfo serve" in said(client), "a word on who does the work")
                with Server(folder / "a", env=env):
                    self.assertEqual(client.wait(), 0, said(client))

    def test_without_the_broker_it_starts_takes_work_and_goes_on_when_it_comes(self):
        env = environment(new_place())
        SERVERS.stop("rabbitmq")
        try:
            with temporary_folder() as folder, Server(folder, env=env) as server:
                self.assertIn("RabbitMQ", not_ready(server))
                workflow = start(server, "OPP-1")
                with Server(folder / "other", env=env) as other:
                    self.assertEqual(other.stop(), 0, said(other))
                SERVERS.start("rabbitmq")
                ready(server)
                self.assertEqual(ended(server, workflow)["status"], "completed")
                SERVERS.stop("rabbitmq")
                eventually(lambda: "RabbitMQ" in not_ready(server), "a word on the broker")
                later = start(server, "OPP-2")
                SERVERS.start("rabbitmq")
                ready(server)
                self.assertEqual(ended(server, later)["status"], "completed")
                check_history(self, whole_export(env, 12), 2)
                self.assertEqual(server.stop(), 0)
                self.assert_no_secret(said(server))
        finally:
            SERVERS.start("rabbitmq")

    def test_while_postgresql_is_away_requests_are_answered_and_it_comes_back_by_itself(self):
        env = environment(new_place())
        with temporary_folder() as folder, Server(folder, env=env) as server:
            ready(server)
            first = start(server, "OPP-1")
            SERVERS.stop("postgres", "immediate")
            try:
                eventually(lambda: "PostgreSQL" in not_ready(server), "a word on PostgreSQL")
                for method, path, body in [("POST", WORKFLOWS, {"opportunityId": "OPP-2"}), ("GET", WORKFLOWS, None),
                                           ("GET", "/api/v1/audit/events", None), ("GET", "/api/v1/dead-letters", None)]:
                    status, answer = server.ask(method, path, body)
                    self.assertEqual((status, answer["error"]["code"]), (503, "unavailable"), (path, answer))
                    self.assert_no_secret(json.dumps(answer))
                self.assertEqual(server.ask("GET", "/health")[0], 200)
                refused = run("workflows", "list", env=env, code=5).stderr
                self.assertIn("PostgreSQL", refused)
                self.assertIn("PostgreSQL", run("serve", "--port", 0, "--data-dir", folder / "b", env=env, code=5).stderr)
            finally:
                SERVERS.start("postgres")
            ready(server)
            self.assertEqual(ended(server, first)["status"], "completed")
            self.assertEqual(ended(server, start(server, "OPP-2"))["status"], "completed")
            check_history(self, whole_export(env, 12), 2)
            self.assert_no_secret(said(server))

    def test_sigterm_ends_it_while_it_waits_for_a_server_that_does_not_answer(self):
        env = environment(new_place())
        SERVERS.pause("postgres")
        try:
            with temporary_folder() as folder, Process("serve", "--port", 0, "--data-dir", folder, env=env) as process:
                time.sleep(0.5)  # it is within its connect timeout of 5 s now
                begun = time.monotonic()
                process.signal(signal.SIGTERM)
                process.wait()
                self.assertLess(time.monotonic() - begun, 2)
        finally:
            SERVERS.resume("postgres")

    def test_it_stops_within_its_time_while_a_server_does_not_answer(self):
        env = environment(new_place())
        for paused in ("postgres", "rabbitmq"):
            with self.subTest(paused=paused), temporary_folder() as folder, Server(folder, env=env) as server:
                ready(server)
                start(server, f"OPP-{paused}")
                SERVERS.pause(paused)
                try:
                    begun = time.monotonic()
                    server.signal(signal.SIGTERM)
                    self.assertIn(server.wait(), (0, 5))
                    self.assertLess(time.monotonic() - begun, 15)
                finally:
                    SERVERS.resume(paused)
            with temporary_folder() as folder, Server(folder, env=env) as server:
                eventually(lambda: {run["status"] for run in server.ask("GET", WORKFLOWS)[1]["workflows"]} == {"completed"},
                           "the end of what was started before")

    def test_what_a_server_refuses_is_told_with_what_to_do_and_without_the_password(self):
        place = new_place()
        nobody = {key: SERVERS.values[f"DEV_{key}_NOBODY_URL"] for key in ("POSTGRES", "RABBITMQ")}
        reader = SERVERS.values["DEV_RABBITMQ_READER_URL"]
        for store, bus, words in [
                (with_password(place.store_url, SECRET), place.bus_url, ["password authentication failed", "check"]),
                (with_host(place.store_url, "no.such.host.invalid", 5432), place.bus_url, ["no.such.host.invalid", "host"]),
                (with_host(place.store_url, "127.0.0.1", 1), place.bus_url, ["Connection refused", "check"]),
                (nobody["POSTGRES"], place.bus_url, ["permission denied", "GRANT"]),
                (place.store_url, with_password(place.bus_url, SECRET), ["login refused", "'wfo'", "check"]),
                (place.store_url, with_host(place.bus_url, "no.such.host.invalid", 5672), ["no.such.host.invalid", "host"]),
                (place.store_url, nobody["RABBITMQ"], ["refused", "set_permissions"]),
                (place.store_url, reader, ["permission", "set_permissions"]),
                (place.store_url, place.bus_url + "-none", ["vhost", f"{place.name}-none"])]:
            with self.subTest(words=words), temporary_folder() as folder:
                done = run("serve", "--port", 0, "--data-dir", folder, code=5,
                           env={"WFO_STORE_URL": store, "WFO_BUS_URL": bus})
                last = done.stderr.splitlines()[-1]
                self.assertTrue(last.startswith("wfo: "), last)
                for word in words:
                    self.assertIn(word, last)
                self.assert_no_secret(done.stderr + done.stdout)
                self.assertNotIn("terminate called", done.stderr)

    def test_a_schema_of_a_newer_program_is_left_alone(self):
        for schema in ("wfo", "wfo_ledger"):
            place = new_place()
            env = environment(place)
            with self.subTest(schema=schema), temporary_folder() as folder:
                with Server(folder, env=env):
                    pass
                place.query(f"INSERT INTO {schema}.migrations (number) VALUES (99)")
                for arguments in (["serve", "--port", 0, "--data-dir", folder], ["workflows", "list"]):
                    refused = run(*arguments, env=env, code=1).stderr
                    self.assertIn("99", refused)
                    self.assertIn("newer", refused)
                    self.assert_no_secret(refused)

    def test_pairs_that_do_not_exist_are_refused(self):
        with temporary_folder() as folder:
            postgres = f"postgresql://wfo:{SECRET}@127.0.0.1:1/wfo"
            for arguments in (["serve", "--port", 0], ["bench", "--workflows", 1], ["config", "check"]):
                for bus in ([], ["--bus", "embedded"]):
                    refused = run(*arguments, "--data-dir", folder, "--store", postgres, *bus, code=2).stderr
                    self.assertIn("SQLite with RabbitMQ, PostgreSQL with RabbitMQ", refused)
                    self.assert_no_secret(refused)
            refused = run("config", "check", "--set", f"ledger.url={postgres}", code=2).stderr
            self.assertIn("ledger.url", refused)
            self.assert_no_secret(refused)

    def test_no_password_is_shown_wherever_it_was_put(self):
        store, bus = f"postgresql://wfo:{SECRET}@db/wfo?sslpassword={SECRET}", f"amqps://wfo:{SECRET}@mq/wfo"
        with temporary_folder() as folder:
            file = folder / "wfo.yaml"
            file.write_text("store: {url: 'host=db dbname=wfo password=${DB_PASSWORD}'}\n"
                            "bus: {url: 'amqp://wfo:${DB_PASSWORD}@mq/wfo'}\n")
            for arguments, env in (
                    (["--store", store, "--bus", bus], {}), ([], {"WFO_STORE_URL": store, "WFO_BUS_URL": bus}),
                    (["--config", file], {"DB_PASSWORD": SECRET}),
                    (["--set", f"store.url={store}", "--set", f"bus.url={bus}"], {})):
                for output in ("table", "json"):
                    shown = run("config", "show", *arguments, "--output", output, env=env)
                    self.assertIn("***", shown.stdout)
                    self.assert_no_secret(shown.stdout + shown.stderr)
            for arguments in (["serve", "--bus", f"http://wfo:{SECRET}@mq"], ["serve", "--store", f"wfo:{SECRET}@db"],
                              ["serve", "--set", f"store.ulr={store}"], ["serve", "--set", bus], ["serve", bus], [bus],
                              ["serve", "--port", bus], ["serve", "--stor", store], ["serve", "--log-level", store],
                              ["migrate", "--from", folder, "--to", f"mysql://wfo:{SECRET}@db"],
                              ["bench", "--workflows", store]):
                refused = run(*arguments, code=2)
                self.assert_no_secret(refused.stderr + refused.stdout)
            broken = folder / "broken.yaml"
            broken.write_text(f"store: {{url: 'mysql://wfo:{SECRET}@db'}}\nbus: {{url: [\"{bus}\", 1]}}\n")
            self.assert_no_secret(run("config", "check", "--config", broken, code=2).stderr)


class SqliteWithRabbitMQ(unittest.TestCase):
    def test_one_process_keeps_its_state_in_files_and_speaks_over_the_broker(self):
        place = new_place()
        env = {"WFO_BUS_URL": place.bus_url}
        with temporary_folder() as data:
            with Server(data, env=env) as server:
                ready(server)
                workflow = start(server, "OPP-1")
                self.assertEqual(ended(server, workflow)["status"], "completed")
                eventually(lambda: len(export(env, "--data-dir", data)) == 6, "the ledger")
                self.assertGreaterEqual(place.queues()["workflow_orchestrator_service"], 0)
                run("serve", "--port", 0, "--data-dir", data, env=env, code=1)
                self.assertEqual(server.stop(), 0)
            refused = run("serve", "--port", 0, "--data-dir", data, code=1).stderr
            self.assertRegex(refused, "broker|RabbitMQ")

    def test_a_directory_that_was_used_without_a_broker_is_refused_to_one(self):
        with temporary_folder() as data:
            with Server(data) as server:
                ended(server, start(server, "OPP-1"))
            refused = run("serve", "--port", 0, "--data-dir", data, env={"WFO_BUS_URL": new_place().bus_url}, code=1).stderr
            self.assertIn(str(data), refused)


if __name__ == "__main__":
    unittest.main()
