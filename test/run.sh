#!/usr/bin/env bash
# run.sh unit|e2e...: runs the tests, and ends with one line that says how many passed and how many failed. Of `unit`, the checks
# of `make check` count as one. Fails when anything did, or could not be run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../lab/lib.sh"
  . "$here/../lab/host/cgroup.sh"
}

passed=0 failed=0 skipped=0
# The hosts of this run are named so, and its processes are in a control group of that name: whatever ends the run, what it
# started is found and ended.
export E2E_RUN=t$$

main() {
  [ "$#" -gt 0 ] || usage
  local part
  for part in "$@"; do
    case $part in
      unit | e2e) ;;
      *) usage ;;
    esac
  done
  cd "$(lab_root)"
  E2E_TMP=$(mktemp -d)
  # Some tests work as another account, which has to get to its files, and nothing else.
  chmod 711 "$E2E_TMP"
  # What others put into the temporary folder, and an interrupted run leaves there, goes with it.
  export E2E_TMP TMPDIR=$E2E_TMP
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP

  if ! lab/setup.sh; then
    failed=1
  else
    # In this order, whatever the order that they were asked for in: what takes seconds goes first.
    if [[ " $* " == *" unit "* ]]; then test_unit; fi
    if [[ " $* " == *" e2e "* ]]; then test_e2e; fi
  fi
  [ "$failed" = 0 ]
}

usage() {
  printf 'usage: test/run.sh unit|e2e...\n' >&2
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

can_boot_hosts() { [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; }

test_e2e() {
  if ! can_boot_hosts; then
    say "the tests that deploy to lab hosts were not run: they need root on Linux; run 'sudo -E env PATH=\"\$PATH\" make test-e2e'."
    failed=$((failed + 1))
    return
  fi
  # What an operator opens a backup with.
  need_tools gpg=gnupg
  say "running the tests that deploy to lab hosts..."
  # Two at once: most of a deployment is waiting.
  jest e2e --maxWorkers=2
}

# jest PROJECT OPTION...: adds its numbers to ours.
jest() {
  local result=$E2E_TMP/$1.json numbers status=0
  # In the background, for only then is a signal to this shell dealt with at once, and in a group of its own, so that Ctrl-C
  # ends nothing behind our back.
  set -m
  (
    if [ "$1" = e2e ]; then cgroup_join "$E2E_RUN"; fi
    exec node_modules/.bin/jest --ci --selectProjects "$1" "${@:2}" --json --outputFile="$result" >&2 </dev/null
  ) &
  running=$!
  set +m
  wait "$running" || status=$?
  running=
  # A file that could not even be read counts as one failed test.
  numbers=$(node -p 'const r = require(process.argv[1]);
    [r.numPassedTests, r.numFailedTests + r.numRuntimeErrorTestSuites, r.numPendingTests + r.numTodoTests].join(" ")' "$result") ||
    numbers="0 1 0"
  read -r -a numbers <<<"$numbers"
  passed=$((passed + numbers[0])) failed=$((failed + numbers[1])) skipped=$((skipped + numbers[2]))
  # It may have failed for another reason than a test.
  if [ "$status" != 0 ] && [ "${numbers[1]}" = 0 ]; then failed=$((failed + 1)); fi
}

clean_up() {
  local status=$?
  trap '' INT TERM HUP
  if [ -n "${running:-}" ]; then
    say "ending the tests that are running..."
    failed=$((failed + 1))
    # As Ctrl-C would; Pulumi saves its state then. What is left is ended below.
    kill -INT -- "-$running" 2>/dev/null || true
    for _ in {1..50}; do
      kill -0 -- "-$running" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$running" 2>/dev/null || true
  fi
  if can_boot_hosts; then
    (cgroup_kill "$E2E_RUN") || status=1
    mapfile -t hosts < <(lab/lab.sh list | awk -v run="$E2E_RUN-" 'index($1, run) == 1 { print $1 }')
    if [ "${#hosts[@]}" -gt 0 ]; then lab/lab.sh down "${hosts[@]}" || status=1; fi
  fi
  rm -rf "$E2E_TMP"
  printf '%d passed, %d failed%s\n' "$passed" "$failed" "$([ "$skipped" = 0 ] || printf ', %d skipped' "$skipped")"
  exit "$status"
}

main "$@"
