#!/bin/bash
# Installs what is missing, checks format and includes, builds everything and runs all tests.
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'EOF'
usage: scripts/test.sh [--sanitize address|thread] [--filter REGEX] [--long]
  --sanitize address   AddressSanitizer and UBSan, built into build-address/
  --sanitize thread    ThreadSanitizer, built into build-thread/
  --filter REGEX       only the tests whose name matches
  --long               also the tests with the label `long`
EOF
}

folder=build
sanitize=
ctest_arguments=()
label_filter=(--label-exclude '^long$')
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitize)
      case "${2-}" in
        address | thread) sanitize=$2 folder=build-$2 ;;
        *) usage_error "--sanitize is '${2-}'; allowed: address, thread" ;;
      esac
      shift
      ;;
    --filter)
      [ -n "${2-}" ] || usage_error "--filter needs a regular expression"
      ctest_arguments+=(--tests-regex "$2")
      shift
      ;;
    --long) label_filter=() ;;
    --help)
      usage
      exit
      ;;
    *) usage_error "unknown argument '$1'" ;;
  esac
  shift
done

require_debian
install_packages build test
command -v npm >/dev/null || install_packages npm
for folder_of_npm in tests/contracts/ajv tests/cron tests/production/node; do
  if [ "$folder_of_npm/package-lock.json" -nt "$folder_of_npm/node_modules/.package-lock.json" ]; then
    say "installing the npm packages of $folder_of_npm"
    npm ci --prefix "$folder_of_npm" --no-audit --no-fund
  fi
done
# Only now: npm itself stays with the Node that it was installed for.
node=$(scripts/node.sh)
export PATH=${node%/*}:$PATH

say "checking the format"
scripts/check-format.sh
say "checking the includes"
scripts/check-includes.py

configure "$folder" -DWFO_TESTS=ON -DWFO_SANITIZE="$sanitize"
build "$folder"

# gcc 12's ThreadSanitizer cannot start when the kernel spreads mappings over more than 28 bits, so it gets a process
# without that; where a container forbids it, it may still start.
runner=()
if [ "$sanitize" = thread ] && setarch --addr-no-randomize true 2>/dev/null; then
  runner=(setarch --addr-no-randomize)
fi
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

say "testing $folder"
exec "${runner[@]}" ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel 2 "${label_filter[@]}" "${ctest_arguments[@]}"
