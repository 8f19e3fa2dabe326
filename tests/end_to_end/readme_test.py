"""Types what the README shows under "What it does", in its order, on a fresh folder: each example works as it stands."""

import os
import re
import shlex
import subprocess
import unittest

from wfo import BINARY, PATIENCE_S, SOURCE, Server, eventually, run_json, temporary_folder


def examples():
    """The commands of that section; one goes on while a quote is open or a line ends in a backslash."""
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## What it does$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    command = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            continue
        command += ("\n" if command else "") + line[4:]
        if command.endswith("\\") or command.count("'") % 2 == 1:
            continue
        yield command
        command = ""


class Readme(unittest.TestCase):
    def setUp(self):
        self.ids = {}  # what stands for WORKFLOW and LETTER, by the latest command that printed one

    def type(self, command, folder, code=0):
        for name, value in self.ids.items():
            command = re.sub(rf"\b{name}\b", value, command)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command.replace("/tmp/", f"{folder}/")], cwd=folder,
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, code, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        for name, pattern in (("WORKFLOW", r"started: workflow (\S+)"), ("LETTER", r"^([0-9a-f-]{36})  waiting")):
            if found := re.search(pattern, done.stdout, re.MULTILINE):
                self.ids[name] = found[1]

    def ask(self, command, server):
        """What curl would do, since a machine for tests need not have it."""
        words = shlex.split(command.replace("\\\n", " ").split(" | ")[0])
        options = {"-X": ["GET"], "-H": [], "-d": [None]}
        place = 1
        while place < len(words):
            if words[place] in options:
                options[words[place]].append(words[place + 1])
                place += 1
            elif words[place] != "-s":
                path = re.fullmatch(r"localhost:3051(/.*)", words[place])[1]
            place += 1
        headers = dict(header.split(": ", 1) for header in options["-H"])
        status, answer = server.ask(options["-X"][-1], path, options["-d"][-1], headers)
        self.assertLess(status, 300, f"{command}\n{answer}")

    def test_every_example_works_in_its_order(self):
        with temporary_folder() as folder:
            (folder / "build").mkdir()
            os.symlink(BINARY, folder / "build" / "wfo")
            os.symlink(SOURCE / "examples", folder / "examples")
            typed = []
            commands = examples()
            for command in commands:
                if command.startswith("build/wfo serve "):
                    break
                self.type(command, folder)
                typed.append(command)
            with Server(folder / "data") as server:
                for command in commands:
                    if command.startswith("curl "):
                        self.ask(command, server)
                    elif command.startswith("build/wfo dead-letters list"):
                        eventually(lambda: run_json("dead-letters", "list", "--data-dir", folder / "data")["deadLetters"],
                                   "a dead letter")
                        self.type(command, folder)
                    else:
                        # It is settled already by the line above, which is what the README says.
                        self.type(command, folder, code=1 if "discard" in command else 0)
                    typed.append(command)
                self.assertEqual(server.stop(), 0)
            self.assertGreater(len(typed), 25)
            self.assertEqual(set(self.ids), {"WORKFLOW", "LETTER"})


    def test_the_servers_section_works_as_it_stands(self):
        text = (SOURCE / "README.md").read_text(encoding="utf-8")
        section = re.search(r"^## On PostgreSQL and RabbitMQ$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
        commands = [line[4:] for line in section.splitlines() if line.startswith("    ")]
        self.assertGreater(len(commands), 7)
        with temporary_folder() as folder:
            folder.chmod(0o711)  # as root PostgreSQL runs as another user
            (folder / "build").mkdir()
            os.symlink(BINARY, folder / "build" / "wfo")
            for name in ("examples", "scripts"):
                os.symlink(SOURCE / name, folder / name)
            script = "\n".join(commands).replace("/tmp/", f"{folder}/")
            environment = {**os.environ, "TMPDIR": str(folder), "WFO_HTTP_PORT": "0"}
            done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=environment,
                                  capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
            self.assertIn("workflow.opportunity.analysis.completed", done.stdout)


if __name__ == "__main__":
    unittest.main()
