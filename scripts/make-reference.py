#!/usr/bin/env python3
"""Writes docs/reference/ from the program itself: the command line, the settings, the events.

usage: make-reference.py [--check] WFO    WFO is the program, build/wfo
--check writes nothing and exits with 1 if a page is not what it would write.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Written by scripts/make-reference.py. -->\n"


def ask(program, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WFO_")}
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True, env=clean).stdout


def verbs(text):
    """The names of the subcommands in a help text."""
    lines = text.splitlines()
    if "Subcommands:" not in lines:
        return []
    names = []
    for line in lines[lines.index("Subcommands:") + 1:]:
        if not line.startswith("  "):
            break
        if line[2] != " ":
            names.append(line.split()[0])
    return names


def command_line(program):
    page = NOTE + "# The command line\n\n"
    page += ("Options stand anywhere behind the verb. Data goes to stdout, everything else to stderr. Exit codes: 0 done, "
             "1 failed, 2 wrong usage, 3 not found, 4 verification failed, 5 unavailable.\n")

    def add(path):
        nonlocal page
        text = ask(program, *path, "--help")
        page += f"\n## wfo {' '.join(path)}\n\n```\n{text.rstrip()}\n```\n".replace("## wfo \n", "## wfo\n")
        for verb in verbs(text):
            add([*path, verb])

    add([])
    return page


def settings(program):
    page = NOTE + "# Settings\n\n"
    page += ("In a YAML file (`--config FILE` or `$WFO_CONFIG`), nested at the dots; in the environment; or as `--set "
             "NAME=VALUE`. Flags win over the environment, the environment over the file, the file over the default. In "
             "the file `${NAME}` and `${NAME:-default}` stand for the environment's values. Lists in the environment "
             "and in `--set` are separated by commas. Unknown names and bad values are errors; but a variable of the "
             "environment that names no setting is passed over.\n\n")
    page += "| setting | default | allowed | environment | |\n|---|---|---|---|---|\n"
    for name, setting in json.loads(ask(program, "config", "show", "--output", "json")).items():
        value = setting["value"]
        value = ", ".join(value) if isinstance(value, list) else value
        page += (f"| `{name}` | {'`' + value + '`' if value else ''} | {setting['allowed']} | `{setting['environment']}` | "
                 f"{setting['help']} |\n")
    return page


def described(schema):
    kind = schema.get("type", "")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if "const" in schema:
        kind += f" `{schema['const']}`"
    if "enum" in schema:
        kind += " " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "format" in schema:
        kind += f" ({schema['format']})"
    if "minimum" in schema or "maximum" in schema:
        kind += f" {schema.get('minimum', '')}..{schema.get('maximum', '')}"
    return kind.strip()


def events(program):
    page = NOTE + "# Events\n\n"
    page += ("All go to the topic exchange `coder_events` with their type as routing key. The schemas are in "
             "`contracts/events/`; `wfo events validate FILE` checks events against them. What stands here is `data`; the "
             "envelope around it: `id`, `type`, `version`, `timestamp`, `tenantId`, `source`, `data`, and `metadata` with "
             "`correlationId`, `causationId`, `userId`, `traceparent`.\n")
    for kind in ask(program, "events", "types").split():
        schema = json.loads(ask(program, "events", "schema", kind))
        source = schema["properties"].get("source", {})
        data = schema["properties"]["data"]
        page += f"\n## {kind}\n\n"
        if "description" in schema:
            page += schema["description"] + "\n\n"
        if "const" in source:
            page += f"Published by `{source['const']}`.\n\n"
        page += "| member | | required | |\n|---|---|---|---|\n"
        for name, member in data.get("properties", {}).items():
            required = "yes" if name in data.get("required", []) else ""
            page += f"| `{name}` | {described(member)} | {required} | {member.get('description', '')} |\n"
    return page


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    arguments = [argument for argument in arguments if argument != "--check"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    program = str(Path(arguments[0]).resolve())
    stale = []
    for name, make in (("command-line.md", command_line), ("settings.md", settings), ("events.md", events)):
        page = PAGES / name
        text = make(program)
        if check:
            if not page.exists() or page.read_text() != text:
                stale.append(name)
        else:
            PAGES.mkdir(parents=True, exist_ok=True)
            page.write_text(text)
    if stale:
        sys.exit(f"docs/reference is not what the program says: {', '.join(stale)}; run scripts/make-reference.py build/wfo")


if __name__ == "__main__":
    main()
