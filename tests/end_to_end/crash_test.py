"""The process is killed while it works, again and again, and nothing is lost, doubled or left over."""

import json
import unittest
from pathlib import Path

from wfo import Process, check_history, eventually, export, ledger_size, run, run_json, temporary_folder, write_pipeline

ROWS = 1500
KILLS = 20
ENTRIES_OF_A_RUN = 6
EARLY_MARKS_BYTES = (1, 40_000, 200_000, 400_000, 600_000)


def store_bytes(data):
    """What the store has written so far."""
    return sum(file.stat().st_size for file in (data / "wfo.db", data / "wfo.db-wal") if file.exists())


class Crash(unittest.TestCase):
    def test_twenty_kills_spread_over_the_work_lose_and_double_nothing(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, ROWS)
            total = ROWS * ENTRIES_OF_A_RUN
            killed = 0
            # While it reads the file, imports it, learns from it: by the size of the store's file, before any entry.
            for mark in EARLY_MARKS_BYTES:
                with Process("analyze", file, "--data-dir", data, "--quiet") as process:
                    eventually(lambda: store_bytes(data) >= mark or not process.alive(), f"{mark} bytes")
                    process.kill()
            for i in range(KILLS):
                # By progress, not by time: the whole takes seconds, and how many depends on the machine.
                mark = (i + 1) * total // (KILLS + 2)
                with Process("analyze", file, "--data-dir", data, "--quiet") as process:
                    eventually(lambda: ledger_size(data) >= mark or not process.alive(), f"{mark} entries")
                    killed += process.alive()
                    process.kill()
            self.assertGreaterEqual(killed, KILLS * 3 // 4, "too few kills met a working process")
            summary = run_json("analyze", file, "--data-dir", data)
            self.assertEqual(summary["runs"]["completed"], ROWS, json.dumps(summary)[:2000])
            self.assertEqual(summary["runs"]["failed"], 0)
            check_history(self, export(data), ROWS)
            self.assertEqual(run_json("workflows", "list", "--status", "running", "--data-dir", data)["workflows"], [])
            self.assertEqual(run_json("dead-letters", "list", "--data-dir", data)["deadLetters"], [])
            # The same file again is the same work.
            before = ledger_size(data)
            run("analyze", file, "--data-dir", data)
            self.assertEqual(ledger_size(data), before)


if __name__ == "__main__":
    unittest.main()
