#!/usr/bin/env bash
# run.sh unit|e2e|slow...: runs the tests, and ends with one line that says how many passed, failed and were skipped. Of `unit`, the checks
# of `make check` count as one. Fails when anything did, or could not be run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../lab/lib.sh"
  . "$here/../lab/host/cgroup.sh"
  . "$here/started.sh"
}

passed=0 failed=0 skipped=0

main() {
  [ "$#" -gt 0 ] || usage
  local part
  for part in "$@"; do
    case $part in
      unit | e2e | slow) ;;
      *) usage ;;
    esac
  done
  cd "$(lab_root)"
  begin_run t$$
  trap clean_up EXIT

  if ! lab/setup.sh; then
    failed=1
  else
    # In this order, whatever the order that they were asked for in: what takes seconds goes first.
    if [[ " $* " == *" unit "* ]]; then test_unit; fi
    if [[ " $* " == *" e2e "* ]]; then test_on_hosts e2e; fi
    if [[ " $* " == *" slow "* ]]; then test_on_hosts slow; fi
  fi
  [ "$failed" = 0 ]
}

usage() {
  printf 'usage: test/run.sh unit|e2e|slow...\n' >&2
  exit 2
}

test_unit() {
  local output
  say "checking types, style and shell scripts..."
  if output=$(make --no-print-directory check 2>&1 </dev/null); then
    passed=$((passed + 1))
  else
    printf '%s\n' "$output"
    failed=$((failed + 1))
  fi
  say "running the tests that need no host..."
  jest unit
}

# test_on_hosts e2e|slow
test_on_hosts() {
  if ! can_boot_hosts; then
    say "the tests that deploy to lab hosts were not run: they need root on Linux; run 'sudo -E env PATH=\"\$PATH\" make test-$1'."
    failed=$((failed + 1))
    return
  fi
  # What an operator opens a backup with.
  need_tools gpg=gnupg
  say "running the tests of $1, which deploy to lab hosts..."
  # Two at once: most of a deployment is waiting.
  jest "$1" --maxWorkers=2
}

# jest PROJECT OPTION...: adds its numbers to ours.
jest() {
  local result=$E2E_TMP/$1.json numbers group=alone
  if [ "$1" != unit ]; then group=grouped; fi
  run_apart "$group" node_modules/.bin/jest --ci --selectProjects "$1" "${@:2}" --json --outputFile="$result" >&2
  # A file that could not even be read counts as one failed test.
  numbers=$(node -p 'const r = require(process.argv[1]);
    [r.numPassedTests, r.numFailedTests + r.numRuntimeErrorTestSuites, r.numPendingTests + r.numTodoTests].join(" ")' "$result") ||
    numbers="0 1 0"
  read -r -a numbers <<<"$numbers"
  passed=$((passed + numbers[0])) failed=$((failed + numbers[1])) skipped=$((skipped + numbers[2]))
  # It may have failed for another reason than a test.
  if [ "$run_status" != 0 ] && [ "${numbers[1]}" = 0 ]; then failed=$((failed + 1)); fi
}

clean_up() {
  local status=$?
  [ -z "${running:-}" ] || failed=$((failed + 1))
  end_run || status=1
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  exit "$status"
}

main "$@"
