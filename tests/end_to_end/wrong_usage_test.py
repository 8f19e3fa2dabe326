"""What people type wrong: each has one clear line on stderr, the right exit code, and ends by itself."""

import os
import subprocess
import unittest

from wfo import BINARY, PATIENCE_S, Server, run, temporary_folder, write_pipeline


class WrongUsage(unittest.TestCase):
    def refused(self, code, words, *arguments):
        stderr = run(*arguments, code=code).stderr
        for word in words:
            self.assertIn(word, stderr)
        self.assertNotIn("terminate called", stderr)

    def test_a_verb_that_does_not_exist_is_named(self):
        self.refused(2, ["'analyse'"], "analyse", "--quiet")
        self.refused(2, ["'lst'"], "workflows", "lst")
        self.refused(2, ["--reason"], "workflows", "cancel", "x")

    def test_a_folder_in_the_place_of_a_file_is_named(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 3)
            letter = "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11"
            for arguments in (["events", "validate", folder], ["analyze", folder], ["analyze", file, "--mapping", folder],
                              ["dead-letters", "replay", letter, "--body", folder],
                              ["serve", "--port", "0", "--set", f"workflows.definitions={folder}"],
                              ["workflows", "list", "--set", f"analysis.playbook={folder}"]):
                self.refused(2, [str(folder)], *arguments, "--data-dir", data)

    def test_stores_and_buses_that_there_are_not_are_named_with_those_that_there_are(self):
        with temporary_folder() as folder:
            data = ["--data-dir", folder / "data"]
            postgres = "postgresql://wfo:s3cret@127.0.0.1:1/wfo"
            for words, arguments in (
                    (["store.url", "'data/wfo.db'", "postgresql://"], ["serve", "--store", "data/wfo.db"]),
                    (["bus.url", "'127.0.0.1:5672'", "amqp://"], ["serve", "--bus", "127.0.0.1:5672"]),
                    (["bus.url", "SQLite with RabbitMQ", "--bus"], ["serve", "--store", postgres]),
                    (["--replicas", "'2'", "--store postgresql://"], ["bench", "--replicas", "2", "--workflows", "1"]),
                    (["--to", "postgresql://"], ["migrate"]),
                    (["store.url", "mysql://wfo:***@db"], ["migrate", "--to", "mysql://wfo:s3cret@db"]),
                    (["store.connections", "'0'", "1..100"], ["serve", "--set", "store.connections=0"]),
                    (["bus.tls_verify_peer", "'no'", "true, false"], ["serve", "--set", "bus.tls_verify_peer=no"])):
                self.refused(2, words, *arguments, *data)
            self.refused(3, ["no installation", str(folder / "data")], "migrate", "--to", postgres, *data)
            self.assertFalse((folder / "data").exists(), "what is refused leaves no folder behind")

    def test_jobs_say_what_is_wrong_and_change_nothing(self):
        with temporary_folder() as folder:
            data = ["--data-dir", folder / "data"]
            self.refused(3, ["no installation", str(folder / "data")], "jobs", "list", *data)

            def file(name, text):
                (folder / name).write_text(text)
                return folder / name
            nameless = file("nameless.yaml", "job: outcome-sync\ncron: '@daily'\n")
            half = file("half.json", '{"name": "a", "job": ')
            broken = file("broken.yaml", "name: a\njob: [\n")
            wrong = file("wrong.yaml", "name: a\njob: outcome-sink\ncron: 0 25 * * *\ntimeZone: Mars\noverlap: queue\n"
                                       "jitter: 2d\nzone: UTC\n")
            slash = file("slash.yaml", "name: a/b\njob: outcome-sync\ncron: '@daily'\n")
            soon = file("soon.yaml", "name: c\njob: risk-snapshot-backfill\ncron: '@daily'\nmetadata: {from: soon}\n")
            latin = folder / "latin.yaml"
            latin.write_bytes(b"name: c\njob: outcome-sync\ncron: '@daily'\npaused: true\npauseNote: M\xfcnchen\n")
            good = file("good.yaml", "name: a\njob: outcome-sync\ncron: '@daily'\n")
            run_id = "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11"
            with Server(folder / "data"):
                run("jobs", "put", good, *data)
                before = run("jobs", "list", "--output", "json", *data).stdout
                for code, words, arguments in (
                        (2, ["'lst'"], ["lst"]),
                        (2, ["JOB"], ["trigger"]),
                        (3, ["'outcome-sink'", "outcome-sync, risk-snapshot-backfill"], ["trigger", "outcome-sink"]),
                        (2, ["--metadata", "array", "object"], ["trigger", "outcome-sync", "--metadata", "[1]"]),
                        (2, ["--metadata", "JSON"], ["trigger", "outcome-sync", "--metadata", "{"]),
                        (3, [str(folder / "no.json")], ["trigger", "outcome-sync", "--metadata", f"@{folder}/no.json"]),
                        (2, ["2026-02-01", "2026-01-01", "before"],
                         ["trigger", "risk-snapshot-backfill", "--metadata", '{"from":"2026-02-01","to":"2026-01-01"}']),
                        (2, ["--metadata", "''"], ["trigger", "outcome-sync", "--metadata", ""]),
                        (2, ["JOB", "''"], ["trigger", ""]),
                        (2, ["--job", "''"], ["runs", "--job", ""]),
                        (2, ["--schedule", "''"], ["runs", "--schedule", ""]),
                        (2, ["--status", "''"], ["runs", "--status", ""]),
                        (2, ["RUN", "''"], ["run", ""]),
                        (2, ["RUN", "''"], ["cancel", "", "--reason", "x"]),
                        (2, ["NAME", "''"], ["show", ""]),
                        (2, ["NAME", "''"], ["fires", ""]),
                        (2, ["NAME", "''"], ["preview", ""]),
                        (2, ["NAME", "''"], ["delete", ""]),
                        (2, ["NAME", "''"], ["pause", "", "--note", "x"]),
                        (2, ["--cron", "''"], ["preview", "--cron", ""]),
                        (2, [f"{slash}: name: ", "a/b", "1 to 100"], ["put", slash]),
                        (2, [f"{soon}: ", "metadata.from", "soon"], ["put", soon]),
                        (2, [f"{latin}:5: ", "UTF-8"], ["put", latin]),
                        (2, ["--wait-max", "'soon'", "5m"], ["trigger", "outcome-sync", "--wait-max", "soon"]),
                        (2, ["'done'", "completed"], ["runs", "--status", "done"]),
                        (2, ["limit", "'0'", "1..1000"], ["runs", "--limit", "0"]),
                        (2, ["limit", "'1001'", "1..1000"], ["list", "--limit", "1001"]),
                        (2, ["cursor", "'x'"], ["runs", "--cursor", "x"]),
                        (3, ["'nope'"], ["run", "nope"]),
                        (3, [run_id], ["run", run_id]),
                        (2, ["--reason"], ["cancel", run_id]),
                        (3, [run_id], ["cancel", run_id, "--reason", "x"]),
                        (3, ["'nope'"], ["show", "nope"]),
                        (3, ["'nope'"], ["fires", "nope"]),
                        (2, ["--note"], ["pause", "a"]),
                        (2, ["note"], ["pause", "a", "--note", ""]),
                        (3, ["'nope'"], ["pause", "nope", "--note", "x"]),
                        (1, ["'a'", "not paused"], ["resume", "a"]),
                        (3, ["'nope'"], ["delete", "nope"]),
                        (1, ["'outcome-sync'", "configuration"], ["delete", "outcome-sync"]),
                        (2, [str(nameless), "name"], ["put", nameless]),
                        (2, [str(half)], ["put", half]),
                        (2, [f"{broken}:"], ["put", broken]),
                        (2, [f"{wrong}: ", "'outcome-sink'", "hour, column 3", "'Mars'", "'queue'", "buffer_one", "jitter",
                             "'zone'"], ["put", wrong]),
                        (3, [str(folder / "none.yaml")], ["put", folder / "none.yaml"]),
                        (2, ["--from", "'yesterday'", "2026-03-01"],
                         ["backfill", "a", "--from", "yesterday", "--to", "2026-02-02"]),
                        (2, ["--to"], ["backfill", "a", "--from", "2026-02-02"]),
                        (2, ["before"], ["backfill", "a", "--from", "2026-02-02", "--to", "2026-02-01"]),
                        (2, ["1000"], ["backfill", "a", "--from", "2016-02-02", "--to", "2026-02-01"]),
                        (2, ["\"queue\"", "buffer_all"],
                         ["backfill", "a", "--from", "2026-02-01", "--to", "2026-02-02", "--overlap", "queue"]),
                        (3, ["'nope'"], ["backfill", "nope", "--from", "2026-02-01", "--to", "2026-02-02"]),
                        (2, ["NAME", "--cron", "neither"], ["preview"]),
                        (2, ["both"], ["preview", "a", "--cron", "@daily"]),
                        (2, ["--zone", "'UTC'"], ["preview", "a", "--zone", "UTC"]),
                        (2, ["minute, column 1", "0..59"], ["preview", "--cron", "61 * * * *"]),
                        (2, ["'Mars'"], ["preview", "--cron", "@daily", "--zone", "Mars"]),
                        (2, ["count", "'0'", "1..1000"], ["preview", "a", "--count", "0"]),
                        (2, ["--after", "'soon'"], ["preview", "a", "--after", "soon"])):
                    with self.subTest(arguments=arguments):
                        self.refused(code, words, "jobs", *arguments, *data)
                self.assertEqual(run("jobs", "list", "--output", "json", *data).stdout, before)
                self.assertEqual(run("jobs", "runs", "--output", "json", *data).stdout, '{"runs":[]}\n')
                self.assertEqual(run("jobs", "fires", "--output", "json", *data).stdout, '{"fires":[]}\n')

    def test_output_that_cannot_be_written_is_a_failure(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 100)
            run("analyze", file, "--data-dir", data)
            for arguments in (["workflows", "list", "--limit", "100"], ["audit", "export"], ["audit", "search"],
                              ["config", "show"], ["events", "types"], ["jobs", "list"],
                              ["jobs", "preview", "--cron", "@hourly", "--count", "1000"]):
                with open("/dev/full", "wb") as full:
                    done = subprocess.run([BINARY, *arguments, "--data-dir", data], stdout=full, stderr=subprocess.PIPE,
                                          text=True, timeout=PATIENCE_S, check=False)
                self.assertEqual(done.returncode, 5, arguments)
                self.assertIn("standard output cannot be written", done.stderr)

    def test_a_reader_that_goes_away_ends_an_export(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 300)
            run("analyze", file, "--data-dir", data)
            process = subprocess.Popen([BINARY, "audit", "export", "--data-dir", data], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=os.environ)
            self.assertIn(b'{"index":0,', process.stdout.readline())
            process.stdout.close()
            with process.stderr:
                process.stderr.read()
            self.assertEqual(process.wait(PATIENCE_S), 5)

    def test_a_folder_that_is_served_is_refused_to_who_would_serve_it_too(self):
        with temporary_folder() as folder:
            with Server(folder / "data") as server:
                for arguments in (["serve", "--port", 0], ["bench", "--workflows", 1]):
                    self.refused(1, [str(server.process.pid)], *arguments, "--data-dir", folder / "data")
                run("workflows", "list", "--data-dir", folder / "data")
                self.refused(5, [str(server.port)], "serve", "--port", server.port, "--data-dir", folder / "other")


if __name__ == "__main__":
    unittest.main()
