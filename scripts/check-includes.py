#!/usr/bin/env python3
"""Refuses includes that break the order of the modules in src/ (docs/adr/0001-modules.md).

A module includes only what its line in MAY_INCLUDE names; a detail/ folder is its own module's business; x.cpp
includes its x.h before anything else, so that compiling it proves that the header needs nothing before it (headers
without such a file are compiled alone by cmake/headers.cmake); and some libraries are known to few modules only.

usage: check-includes.py [ROOT]    ROOT holds src/; default: the folder above this one
Exit codes: 0 all well, 1 something is refused, 2 wrong usage.
"""

import re
import sys
from pathlib import Path

# Bottom first. What a module may include besides itself; a module in it stands for that folder only, not for those below.
MAY_INCLUDE = {
    "base": [],
    "events": ["base"],
    "merkle": ["base"],
    "workflow": ["base", "events"],
    "schedule": ["base", "events"],
    "store": ["base", "events", "workflow", "schedule"],
    "bus": ["base", "events", "workflow", "schedule", "store"],
    "store/sqlite": ["base", "events", "workflow", "schedule", "store", "bus"],
    "store/postgres": ["base", "events", "workflow", "schedule", "store", "bus"],
    "bus/embedded": ["base", "events", "workflow", "store", "bus"],
    "bus/rabbitmq": ["base", "events", "workflow", "store", "bus"],
    "delivery": ["base", "events", "store", "bus"],
}
MAY_INCLUDE |= {
    role: ["base", "events", "workflow", "schedule", "store", "bus", "delivery"]
    for role in ["orchestrator", "scheduler", "jobs", "analysis"]
}
MAY_INCLUDE["ledger"] = ["base", "events", "merkle", "store", "bus", "delivery"]
MAY_INCLUDE["api"] = [name for name in MAY_INCLUDE if "/" not in name]
MAY_INCLUDE["app"] = list(MAY_INCLUDE)

LEVELS = [
    ["base"],
    ["events", "merkle"],
    ["workflow", "schedule"],
    ["store", "bus"],
    ["store/sqlite", "store/postgres", "bus/embedded", "bus/rabbitmq", "delivery"],
    ["orchestrator", "scheduler", "jobs", "analysis", "ledger"],
    ["api"],
    ["app"],
]
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}

# Libraries that only these modules know, longest prefix first; tests may use them all (docs/dependencies.md).
LIBRARIES = {
    "amqp": ["bus/rabbitmq"],
    "boost/json": [],
    "boost/": ["api", "app"],
    "CLI/": ["app"],
    "date/": ["schedule"],
    "libpq": ["store/postgres"],
    "openssl/": ["base", "bus/rabbitmq"],
    "postgresql/": ["store/postgres"],
    "prometheus/": ["base"],
    "rabbitmq-c/": ["bus/rabbitmq"],
    "spdlog/": ["base"],
    "sqlite3": ["store/sqlite"],
    "yaml-cpp/": ["workflow", "analysis", "app"],
}

GENERATED = "embedded"  # files that wfo_embed (cmake/embed.cmake) writes into the build folder
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def module_of(path):
    """The module that a path below src/ belongs to, the deepest that matches, or None."""
    folders = path.split("/")[:-1]
    for depth in range(len(folders), 0, -1):
        name = "/".join(folders[:depth])
        if name in MAY_INCLUDE:
            return name
    return None


def reason_to_refuse(includer, quoted, target, exists):
    """Why `includer` must not include `target`, or None. `exists` says whether a path below src/ is a file."""
    module = module_of(includer)
    is_test = "/tests/" in includer
    if not exists(target):
        if is_test or target.startswith(GENERATED + "/"):
            return None  # tests see the files of tests/ at the root, too
        library = next((prefix for prefix in LIBRARIES if target.startswith(prefix)), None)
        if library and module not in LIBRARIES[library]:
            return f"{library} is for {', '.join(LIBRARIES[library]) or 'tests'} only"
        return "no such file below src/; paths start at the module" if quoted and not library else None
    other = module_of(target)
    if other is None:
        return "it belongs to no module"
    if other == module:
        return None
    if "/detail/" in target:
        return f"detail/ belongs to {other} alone"
    if is_test:
        if LEVEL_OF[other] <= LEVEL_OF[module]:
            return None
        return f"{other} is above {module}"
    if "/tests/" in target:
        return "only tests include tests"
    if other in MAY_INCLUDE[module]:
        return None
    return f"{module} may include only {', '.join(MAY_INCLUDE[module]) or 'itself'}"


def check(root):
    """All complaints about root/src, in order of path and line, as `path:line: message`."""
    source = Path(root) / "src"
    complaints = []
    for file in sorted(source.rglob("*")):
        if file.suffix not in (".h", ".cpp") or not file.is_file():
            continue
        path = file.relative_to(source).as_posix()
        if module_of(path) is None:
            complaints.append(f"src/{path}:1: belongs to no module; scripts/check-includes.py lists them")
            continue
        own_header = path.removesuffix(".cpp") + ".h"
        own_header_is_due = file.suffix == ".cpp" and (source / own_header).is_file()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match[2]
            if own_header_is_due and target != own_header:
                complaints.append(f"src/{path}:{number}: the first include must be {own_header}")
            own_header_is_due = False
            reason = reason_to_refuse(path, match[1] == '"', target, lambda name: (source / name).is_file())
            if reason:
                complaints.append(f"src/{path}:{number}: must not include {target}: {reason}")
    return complaints


def main(arguments):
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    if not (root / "src").is_dir():
        print(f"error: {root} has no folder src", file=sys.stderr)
        return 2
    complaints = check(root)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
