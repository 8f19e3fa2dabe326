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

    def test_output_that_cannot_be_written_is_a_failure(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 100)
            run("analyze", file, "--data-dir", data)
            for arguments in (["workflows", "list", "--limit", "100"], ["audit", "export"], ["audit", "search"],
                              ["config", "show"], ["events", "types"]):
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
