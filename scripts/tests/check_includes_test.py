"""What scripts/check-includes.py allows and refuses, shown on small trees."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "check-includes.py"


def run_on(files):
    """Exit code and output for a tree of these files: {path: text}."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            file = Path(root) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, str(SCRIPT), root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


TREE = {
    path: "#pragma once\n"
    for path in [
        "src/base/result.h",
        "src/base/detail/parser.h",
        "src/events/event.h",
        "src/store/store.h",
        "src/store/sqlite/sqlite_store.h",
        "src/store/sqlite/detail/database.h",
        "src/bus/embedded/embedded_bus.h",
        "src/orchestrator/orchestrator.h",
        "src/orchestrator/tests/samples.h",
        "src/ledger/ledger.h",
        "src/api/server.h",
    ]
}


class Includes(unittest.TestCase):
    def assert_allowed(self, path, line):
        code, output = run_on(TREE | {path: line + "\n"})
        self.assertEqual((code, output), (0, ""))

    def assert_refused(self, path, line, reason):
        code, output = run_on(TREE | {path: "#pragma once\n" + line + "\n"})
        self.assertEqual(code, 1)
        self.assertEqual(output.count("\n"), 1, output)
        self.assertIn(f"{path}:2: ", output)
        self.assertIn(reason, output)

    def test_a_lower_module_is_allowed(self):
        self.assert_allowed("src/orchestrator/steps.h", '#include "store/store.h"')

    def test_an_upper_module_is_refused(self):
        self.assert_refused("src/base/uuid.h", '#include "events/event.h"', "base may include only itself")

    def test_an_upper_module_is_refused_in_angle_brackets_too(self):
        self.assert_refused("src/base/uuid.h", "#  include <events/event.h>", "base may include only itself")

    def test_a_sideways_module_is_refused(self):
        self.assert_refused("src/ledger/append.h", '#include "orchestrator/orchestrator.h"', "ledger may include only")

    def test_one_implementation_does_not_know_another(self):
        self.assert_refused("src/bus/embedded/queue.h", '#include "store/sqlite/sqlite_store.h"', "bus/embedded may")

    def test_an_interface_does_not_know_its_implementation(self):
        self.assert_refused("src/store/open.h", '#include "store/sqlite/sqlite_store.h"', "store may include only")

    def test_only_app_names_a_concrete_store(self):
        self.assert_refused("src/api/routes.h", '#include "store/sqlite/sqlite_store.h"', "api may include only")
        self.assert_allowed("src/app/serve.h", '#include "store/sqlite/sqlite_store.h"')

    def test_detail_is_open_to_its_own_module(self):
        self.assert_allowed("src/store/sqlite/sqlite_store.cpp", '#include "store/sqlite/sqlite_store.h"\n'
                            '#include "store/sqlite/detail/database.h"')

    def test_detail_is_closed_to_all_others(self):
        self.assert_refused("src/events/schema.h", '#include "base/detail/parser.h"', "belongs to base alone")
        self.assert_refused("src/app/serve.h", '#include "store/sqlite/detail/database.h"', "belongs to store/sqlite")

    def test_tests_may_include_their_level_and_below_but_not_above(self):
        self.assert_allowed("src/ledger/tests/ledger_test.cpp", '#include "orchestrator/tests/samples.h"')
        self.assert_refused("src/ledger/tests/ledger_test.cpp", '#include "api/server.h"', "api is above ledger")

    def test_tests_may_include_the_headers_of_the_tests_folder(self):
        self.assert_allowed("src/ledger/tests/ledger_test.cpp", '#include "contracts/store_contract.h"')

    def test_only_tests_include_tests(self):
        self.assert_refused("src/app/serve.h", '#include "orchestrator/tests/samples.h"', "only tests include tests")

    def test_a_path_that_does_not_start_at_the_module_is_refused(self):
        self.assert_refused("src/base/uuid.h", '#include "result.h"', "paths start at the module")

    def test_the_standard_library_and_embedded_files_are_open_to_all(self):
        self.assert_allowed("src/base/uuid.h", "#include <vector>\n#include <fmt/format.h>")
        self.assert_allowed("src/base/uuid.h", '#include "embedded/contracts.h"')

    def test_a_library_is_known_to_its_modules_only(self):
        self.assert_allowed("src/store/sqlite/file.h", "#include <sqlite3.h>")
        self.assert_refused("src/ledger/file.h", "#include <sqlite3.h>", "sqlite3 is for store/sqlite only")
        self.assert_allowed("src/store/postgres/connection.h", "#include <libpq-fe.h>")
        self.assert_refused("src/app/serve.h", "#include <libpq-fe.h>", "libpq is for store/postgres only")
        self.assert_allowed("src/bus/rabbitmq/connection.h", "#include <amqp_tcp_socket.h>")
        self.assert_refused("src/app/serve.h", "#include <amqp.h>", "amqp is for bus/rabbitmq only")
        self.assert_refused("src/api/json.h", "#include <boost/json.hpp>", "boost/json is for tests only")
        self.assert_allowed("src/base/tests/json_test.cpp", "#include <boost/json.hpp>")

    def test_a_folder_that_is_no_module_is_refused(self):
        code, output = run_on(TREE | {"src/helpers/text.h": "#pragma once\n"})
        self.assertEqual(code, 1)
        self.assertIn("src/helpers/text.h:1: belongs to no module", output)

    def test_a_file_includes_its_own_header_first(self):
        self.assert_allowed("src/base/result.cpp", '#include "base/result.h"\n#include <string>')
        self.assert_refused("src/base/result.cpp", '#include <string>\n#include "base/result.h"', "must be base/result.h")

    def test_wrong_usage_is_told_from_a_refusal(self):
        done = subprocess.run([sys.executable, str(SCRIPT), "/nonexistent"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
