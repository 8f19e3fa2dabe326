#!/bin/bash
# From nothing to a result: builds, then analyses examples/opportunities.csv into data/. The same file again is the
# same work, so a second run finds everything done. More arguments go to `wfo analyze`.
. "$(dirname "$0")/lib.sh"

scripts/build.sh
say "build/wfo analyze examples/opportunities.csv --data-dir data $*"
exec build/wfo analyze examples/opportunities.csv --data-dir data "$@"
