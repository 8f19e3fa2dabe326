"""A million runs whose steps nobody answers: memory stays bounded by configuration, and new work is still taken."""

import json
import subprocess
import unittest

from wfo import BINARY, temporary_folder

RUNS = 1_000_000


class Million(unittest.TestCase):
    def test_a_million_waiting_runs_take_less_than_a_gibibyte(self):
        with temporary_folder() as data:
            done = subprocess.run([BINARY, "bench", "--work", "waiting", "--workflows", str(RUNS), "--data-dir", data,
                                   "--log-level", "warn", "--quiet"], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            print(done.stdout)
            self.assertEqual(found["active"], RUNS + 1)
            self.assertLess(found["peak_rss_mb"], 1024)


if __name__ == "__main__":
    unittest.main()
