#!/bin/bash
# Prints the path of a Node of version 20 or newer: the one in PATH if it is, else that of the npm package `node`,
# installed into .cache/node (Debian 12 has version 18).
. "$(dirname "$0")/lib.sh"

usage() { echo "usage: scripts/node.sh"; }
[ $# -eq 0 ] || usage_error "unknown argument '$1'"

version=22.23.3
is_new_enough() { "$1" -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; }

installed=$PWD/.cache/node/node_modules/node/bin/node
node=$(command -v node || true)
if [ -z "$node" ] || ! is_new_enough "$node"; then
  node=$installed
  if ! is_new_enough "$node"; then
    say "installing Node $version from npm into .cache/node"
    mkdir -p .cache/node
    npm install --prefix .cache/node --no-save --no-audit --no-fund "node@$version" >&2
    is_new_enough "$node" || die "$node does not run, or is older than 20"
  fi
fi
echo "$node"
