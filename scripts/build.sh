#!/bin/bash
# Installs what the build needs and builds build/wfo (Release).
. "$(dirname "$0")/lib.sh"

usage() { echo "usage: scripts/build.sh"; }
[ $# -eq 0 ] || usage_error "unknown argument '$1'"

require_debian
install_packages build
# A folder that test.sh configured keeps its tests: only the program is built here, and nothing is thrown away.
tests=()
[ -f build/CMakeCache.txt ] || tests=(-DWFO_TESTS=OFF)
configure build "${tests[@]}"
build build wfo
say "built build/wfo"
