#!/bin/bash
# Refuses C++ files that clang-format 14 would write otherwise; --fix rewrites them.
. "$(dirname "$0")/lib.sh"

usage() { echo "usage: scripts/check-format.sh [--fix]"; }
mode=(--dry-run --Werror --ferror-limit=1)
case "${1-}" in
  "") ;;
  --fix) mode=(-i) ;;
  *) usage_error "unknown argument '$1'" ;;
esac

folders=()
for folder in src tests bench fuzz; do [ -d "$folder" ] && folders+=("$folder"); done
find "${folders[@]}" -name node_modules -prune -o -type f \( -name '*.h' -o -name '*.cpp' \) -print0 |
  xargs -0 --max-args=20 --max-procs="$(nproc)" clang-format-14 "${mode[@]}" ||
  die "not formatted; scripts/check-format.sh --fix mends it"
