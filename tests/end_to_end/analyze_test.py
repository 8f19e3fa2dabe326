"""`wfo analyze` and what it leaves in the ledger, seen from outside; every event is judged by a validator that is not
ours."""

import csv
import json
import os
import subprocess
import unittest

from wfo import SOURCE, check_history, export, ledger_size, run, run_json, temporary_folder, write_pipeline

AJV = SOURCE / "tests/contracts/ajv"


class Analyze(unittest.TestCase):
    def test_each_usable_row_of_the_example_is_one_completed_run(self):
        with temporary_folder() as folder:
            data = folder / "data"
            example = folder / "opportunities.csv"
            for name in ("opportunities.csv", "products.csv", "accounts.csv"):
                (folder / name).write_bytes((SOURCE / "examples" / name).read_bytes())
            summary = run_json("analyze", example, "--data-dir", data)
            used, rejected = summary["rows"]["used"], summary["rows"]["rejected"]
            self.assertGreater(rejected, 0, "the example holds rows that cannot be used")
            self.assertEqual(summary["runs"]["completed"], used)
            self.assertEqual(summary["runs"]["failed"], 0)
            with open(summary["rejectsFile"], newline="", encoding="utf-8") as file:
                rejects = list(csv.DictReader(file))
            self.assertEqual(len(rejects), rejected)
            self.assertTrue(all(reject["line"] and reject["reason"] for reject in rejects), rejects)
            endangered = summary["summary"]["currencies"][0]["endangered"]
            self.assertEqual(len(endangered), 10)
            for opportunity in endangered:
                self.assertTrue(opportunity["reasons"] and opportunity["actions"], opportunity)
            check_history(self, export(data), used)

    def test_every_event_of_the_ledger_satisfies_its_schema_in_ajv(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 200)
            # All events, not only those that the ledger takes by default.
            run("analyze", file, "--data-dir", data, "--set", "ledger.bindings=#")
            lines = folder / "ledger.jsonl"
            lines.write_text(run("audit", "export", "--data-dir", data, "--set", "ledger.bindings=#").stdout)
            judged = subprocess.run(["node", str(AJV / "validate.mjs"), str(lines)], capture_output=True, text=True,
                                    check=False)
            self.assertEqual(judged.returncode, 0, judged.stderr[-4000:])
            verdict = json.loads(judged.stdout)
            self.assertEqual(verdict["invalid"], 0)
            self.assertEqual(verdict["unknown"], 0)
            self.assertEqual(verdict["checked"], 200 * 15)
            self.assertEqual(run_json("events", "validate", lines), {"documents": 3000, "invalid": 0, "violations": []})

    def test_a_broken_event_is_named_with_pointer_and_rule(self):
        with temporary_folder() as folder:
            file = folder / "events.jsonl"
            file.write_text('{"id":"x","type":"workflow.step.completed","data":{}}\nno json\n')
            found = run_json("events", "validate", file, code=1)
            self.assertEqual((found["documents"], found["invalid"]), (2, 2))
            rules = {(v["line"], v["pointer"], v["rule"]) for v in found["violations"]}
            self.assertIn((1, "/id", "format"), rules)
            self.assertIn((1, "/data", "required"), rules)
            self.assertEqual({v["line"] for v in found["violations"]}, {1, 2})

    def test_a_changed_row_is_new_work_and_again_asks_for_all_of_it(self):
        with temporary_folder() as folder:
            data, file = folder / "data", folder / "pipeline.csv"
            write_pipeline(file, 30)
            run("analyze", file, "--data-dir", data)
            self.assertEqual(ledger_size(data), 30 * 6)
            lines = file.read_text().splitlines()
            lines[5] = lines[5].replace("Deal 4", "Deal four")
            file.write_text("\n".join(lines) + "\n")
            summary = run_json("analyze", file, "--data-dir", data)
            self.assertEqual(summary["runs"]["completed"], 30)
            self.assertEqual(summary["runs"]["started"], 1)
            self.assertEqual(ledger_size(data), 31 * 6)
            run("analyze", file, "--data-dir", data, "--again")
            self.assertEqual(ledger_size(data), 61 * 6)

    def test_what_cannot_be_read_is_an_error_that_names_it(self):
        with temporary_folder() as folder:
            data = folder / "data"
            missing = run("analyze", folder / "none.csv", "--data-dir", data, code=3)
            self.assertIn("none.csv", missing.stderr)
            headers = folder / "headers.csv"
            headers.write_text("external_id,stage,amount\n")
            self.assertIn("headers.csv", run("analyze", headers, "--data-dir", data, code=2).stderr)
            rejected = folder / "rejected.csv"
            rejected.write_text("external_id,stage,amount\nA,Open,a lot\n")
            refused = run("analyze", rejected, "--data-dir", data, code=2)
            self.assertIn("rejected.csv.rejects.csv", refused.stderr)
            self.assertFalse((data / "wfo.db").exists(), "a file that cannot be used makes no installation")
            unknown = folder / "unknown.csv"
            unknown.write_text("a,b\n1,2\n")
            self.assertIn("unknown.csv", run("analyze", unknown, "--data-dir", data, code=2).stderr)
            binary = folder / "binary.csv"
            binary.write_bytes(os.urandom(4096))
            self.assertIn("binary.csv", run("analyze", binary, "--data-dir", data, code=2).stderr)
            empty = folder / "empty.csv"
            empty.write_text("")
            self.assertIn("empty.csv", run("analyze", empty, "--data-dir", data, code=2).stderr)


if __name__ == "__main__":
    unittest.main()
