"""`wfo jobs`, as operators type it: in a folder that nobody serves, and beside a server."""

import json
import os
import pty
import subprocess
import unittest

from wfo import BINARY, PATIENCE_S, Process, Server, eventually, run, run_json, temporary_folder, write_pipeline

EXTERNAL = "jobs:\n  - {job: crm-export, startTimeout: 2h}\n"
NIGHTLY = {"name": "nightly", "job": "crm-export", "cron": ["0 3 * * *"], "metadata": {"region": "emea"}}


class JobsVerbs(unittest.TestCase):
    def installation(self, folder, rows=60):
        """A data directory with analysed opportunities; how many of them are closed."""
        data, file = folder / "data", folder / "pipeline.csv"
        write_pipeline(file, rows)
        run("analyze", file, "--data-dir", data, "--quiet")
        closed = sum(line.split(",")[2] in ("won", "lost") for line in file.read_text().splitlines())
        return data, closed

    def test_a_built_in_job_is_done_where_nobody_serves(self):
        with temporary_folder() as folder:
            data, closed = self.installation(folder)
            first = run_json("jobs", "trigger", "outcome-sync", "--wait", "--data-dir", data)
            self.assertEqual(first["status"], "completed")
            self.assertEqual(first["triggeredBy"], "manual")
            self.assertEqual(first["counts"]["published"], closed)
            again = run_json("jobs", "trigger", "outcome-sync", "--wait", "--data-dir", data)
            self.assertEqual((again["counts"]["opportunities"], again["counts"]["published"]), (closed, 0))
            table = run("jobs", "trigger", "risk-snapshot-backfill", "--wait", "--data-dir", data).stdout
            self.assertRegex(table, r"status +completed")
            self.assertIn('"snapshots":60', table)
            runs = run_json("jobs", "runs", "--job", "outcome-sync", "--data-dir", data)["runs"]
            self.assertEqual([run["runId"] for run in runs], [again["runId"], first["runId"]])
            self.assertEqual(run_json("jobs", "run", first["runId"], "--data-dir", data), first)

    def test_a_job_that_nobody_waits_for_is_done_by_who_serves_the_folder_next(self):
        with temporary_folder() as folder:
            data, _ = self.installation(folder, rows=5)
            triggered = run_json("jobs", "trigger", "outcome-sync", "--data-dir", data)
            for verb in (["audit", "search"], ["workflows", "list"], ["jobs", "list"]):
                self.assertNotIn("given back", run(*verb, "--data-dir", data).stderr)
            left = run_json("jobs", "run", triggered["runId"], "--data-dir", data)
            self.assertIn(left["status"], ("pending", "queued"), "who ends soon does not begin it")
            self.assertNotIn("startedAt", left)
            with Server(data):
                eventually(lambda: run_json("jobs", "run", triggered["runId"], "--data-dir", data)["status"] == "completed",
                           "the run")

    def test_metadata_comes_from_the_command_line_or_a_file(self):
        with temporary_folder() as folder:
            data, _ = self.installation(folder, rows=5)
            wanted = {"from": "2020-01-01", "to": "2020-02-01"}
            file = folder / "days.json"
            file.write_text(json.dumps(wanted))
            for metadata in (json.dumps(wanted), f"@{file}"):
                done = run_json("jobs", "trigger", "risk-snapshot-backfill", "--metadata", metadata, "--wait",
                                "--data-dir", data)
                self.assertEqual(done["metadata"], wanted)
                self.assertEqual(done["counts"]["snapshots"], 0)

    def test_a_schedule_is_made_shown_steered_and_removed(self):
        with temporary_folder() as folder:
            data = folder / "data"
            (folder / "jobs.yaml").write_text(EXTERNAL)
            (folder / "nightly.json").write_text(json.dumps(NIGHTLY))
            (folder / "nightly.yaml").write_text("name: nightly\njob: crm-export\ncron: 0 4 * * *\n"
                                                 "timeZone: ${EXPORT_ZONE:-Europe/Berlin}\n")
            with Server(data, "--set", f"jobs.definitions={folder / 'jobs.yaml'}") as server:
                def jobs(*arguments, **options):
                    return run_json("jobs", *arguments, "--data-dir", data, **options)

                listed = jobs("list")
                self.assertEqual({job["job"]: job["kind"] for job in listed["jobs"]},
                                 {"crm-export": "external", "outcome-sync": "builtin", "risk-snapshot-backfill": "builtin"})
                self.assertEqual([schedule["name"] for schedule in listed["schedules"]],
                                 ["outcome-sync", "risk-snapshot-backfill"])

                made = jobs("put", folder / "nightly.json")
                self.assertEqual((made["origin"], made["definition"]["metadata"]), ("api", NIGHTLY["metadata"]))
                changed = jobs("put", folder / "nightly.yaml")
                self.assertEqual((changed["cron"], changed["timeZone"]), (["0 4 * * *"], "Europe/Berlin"))
                self.assertEqual(jobs("show", "nightly"), changed)

                rows = jobs("preview", "nightly", "--after", "2026-03-28", "--count", 2)["rows"]
                self.assertEqual([row["at"] for row in rows], ["2026-03-28T03:00:00.000Z", "2026-03-29T02:00:00.000Z"])

                self.assertTrue(jobs("pause", "nightly", "--note", "Ana: the CRM is being moved")["paused"])
                self.assertIn("paused: Ana: the CRM is being moved", run("jobs", "list", "--data-dir", data).stdout)
                self.assertFalse(jobs("resume", "nightly")["paused"])
                run("jobs", "resume", "nightly", "--data-dir", data, code=1)

                filled = jobs("backfill", "nightly", "--from", "2026-02-01", "--to", "2026-02-03T12:00:00Z")["fires"]
                self.assertEqual([fire["outcome"] for fire in filled], ["triggered", "buffered", "buffered"])
                first = jobs("fires", "nightly", "--limit", 2)
                second = jobs("fires", "nightly", "--limit", 2, "--cursor", first["cursor"])
                self.assertEqual([fire["outcome"] for fire in first["fires"] + second["fires"]],
                                 ["buffered", "buffered", "triggered"])
                self.assertEqual(jobs("fires")["fires"], first["fires"] + second["fires"])

                opened = second["fires"][0]["runId"]
                cancelled = jobs("cancel", opened, "--reason", "a test")
                self.assertEqual(cancelled["status"], "cancelled")
                self.assertIn("not told", cancelled["note"])
                run("jobs", "cancel", opened, "--reason", "again", "--data-dir", data, code=1)
                released = eventually(lambda: jobs("runs", "--schedule", "nightly", "--status", "pending")["runs"],
                                      "the fire that waited")
                self.assertEqual(released[0]["scheduledFor"], "2026-02-02T03:00:00.000Z")

                self.assertEqual(jobs("delete", "nightly"), {"deleted": "nightly"})
                jobs("put", folder / "nightly.json")
                table = run("jobs", "backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-02", "--data-dir", data)
                self.assertEqual(table.stdout.split("\n")[0].split(), ["FIRST", "LAST", "COUNT", "OUTCOME", "CAUSE", "RULE"])
                self.assertIn("RUN", run("jobs", "fires", "nightly", "--data-dir", data).stdout.split("\n")[0])
                self.assertEqual(run("jobs", "delete", "nightly", "--data-dir", data).stdout, "deleted: schedule nightly\n")
                run("jobs", "show", "nightly", "--data-dir", data, code=3)
                run("jobs", "delete", "outcome-sync", "--data-dir", data, code=1)
                self.assertIn("skipped", [fire["outcome"] for fire in jobs("fires", "nightly")["fires"]])
                self.assertEqual(server.stop(), 0)

    def test_waiting_ends_with_the_run_or_with_the_time_that_was_given(self):
        with temporary_folder() as folder:
            data = folder / "data"
            (folder / "jobs.yaml").write_text(EXTERNAL)
            with Server(data, "--set", f"jobs.definitions={folder / 'jobs.yaml'}"):
                late = run("jobs", "trigger", "crm-export", "--wait", "--wait-max", "100ms", "--data-dir", data, code=5)
                self.assertIn("pending and has not ended within 100ms", late.stderr)
                with Process("jobs", "trigger", "crm-export", "--wait", "--data-dir", data) as waiting:
                    def both():
                        runs = run_json("jobs", "runs", "--job", "crm-export", "--data-dir", data)["runs"]
                        return runs if len(runs) == 2 else None
                    newest = eventually(both, "the run")[0]
                    run("jobs", "cancel", newest["runId"], "--reason", "a test", "--data-dir", data)
                    self.assertEqual(waiting.wait(), 1)
                    self.assertRegex("".join(waiting.output), r"status +cancelled")

    def test_who_is_the_process_that_works_says_that_the_run_does_not_go_on(self):
        with temporary_folder() as folder:
            data, _ = self.installation(folder, rows=1)
            (folder / "jobs.yaml").write_text(EXTERNAL)
            arguments = ["jobs", "trigger", "crm-export", "--wait", "--wait-max", "50ms", "--data-dir", data, "--set",
                         f"jobs.definitions={folder / 'jobs.yaml'}"]
            self.assertIn("it waits for whoever serves this installation next", run(*arguments, code=5).stderr)
            with Server(data, *arguments[-2:]):
                self.assertNotIn("waits for whoever", run(*arguments, code=5).stderr)

    def test_a_bad_schedule_stops_who_needs_it_and_nobody_else(self):
        with temporary_folder() as folder:
            data, _ = self.installation(folder, rows=1)
            bad = {"OUTCOME_SYNC_CRON": "61 * * * *"}
            told = "built-in jobs.yaml: schedules[1]: cron (environment OUTCOME_SYNC_CRON): "
            for arguments in (["config", "check"], ["serve", "--port", 0], ["jobs", "list"],
                              ["jobs", "trigger", "outcome-sync", "--wait"]):
                self.assertIn(told, run(*arguments, "--data-dir", data, env=bad, code=2).stderr, arguments)
            for arguments in (["audit", "search"], ["workflows", "list"]):
                done = run(*arguments, "--data-dir", data, env=bad)
                self.assertEqual(done.stdout, run(*arguments, "--data-dir", data).stdout)
                self.assertIn(told, done.stderr)
            run("config", "check", "--data-dir", data)
            (folder / "jobs.yaml").write_text("schedules:\n  - {name: x, job: risk-snapshot-backfill, cron: '@daily', "
                                              "metadata: {from: soon}}\n")
            files = ["--set", f"jobs.definitions={folder / 'jobs.yaml'}", "--data-dir", data]
            for verb in (["config", "check"], ["serve", "--port", 0], ["jobs", "list"]):
                self.assertIn("metadata.from is \"soon\"", run(*verb, *files, code=2).stderr)
            run("config", "check", "--set", f"workflows.definitions={folder / 'none.yaml'}", "--data-dir", data, code=3)

    def test_a_person_sees_how_far_it_is_and_a_program_does_not(self):
        with temporary_folder() as folder:
            data, _ = self.installation(folder, rows=700)
            for job in ("risk-snapshot-backfill", "outcome-sync"):
                arguments = ["jobs", "trigger", job, "--wait", "--data-dir", data, "--log-level", "error", "--set",
                             "jobs.outcome_slice_rows=1", "--set", "jobs.backfill_slice_rows=1"]
                code, shown = self.on_a_terminal(arguments)
                self.assertEqual(code, 0)
                self.assertRegex(shown, rf"{job} [1-9]\d*\b")
                self.assertEqual(self.on_a_terminal([*arguments, "--quiet"]), (0, ""))
                self.assertEqual(run(*arguments).stderr, "")

    @staticmethod
    def on_a_terminal(arguments):
        """The exit code, and what a person saw beside the output."""
        seer, seen = pty.openpty()
        with subprocess.Popen([BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=seen) as process:
            os.close(seen)
            shown = b""
            while True:
                try:
                    part = os.read(seer, 4096)
                except OSError:  # the other end is closed
                    break
                if not part:
                    break
                shown += part
            code = process.wait(PATIENCE_S)
        os.close(seer)
        return code, shown.decode()


if __name__ == "__main__":
    unittest.main()
