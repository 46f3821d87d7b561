#!/usr/bin/env bash
# What a run of tests or measurements starts, and its end: whatever ends the run, its processes and its hosts are found and
# ended, and its temporary files are removed. To be sourced, after lab/lib.sh and lab/host/cgroup.sh.

# begin_run NAME: hosts are named NAME-…, processes are in a control group NAME, files in a temporary folder.
begin_run() {
  export E2E_RUN=$1
  E2E_TMP=$(mktemp -d)
  # Some tests work as another account, which has to get to its files, and nothing else.
  chmod 711 "$E2E_TMP"
  # What others put into the temporary folder, and an interrupted run leaves there, goes with it.
  export E2E_TMP TMPDIR=$E2E_TMP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}

can_boot_hosts() { [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; }

# run_apart grouped|alone COMMAND...: runs it to its end, and leaves its exit status in $run_status. `grouped` is for what boots
# hosts, or starts processes that could outlive it.
run_apart() {
  # shellcheck disable=SC2034 # for the caller
  run_status=0
  # In the background, for only then is a signal to this shell dealt with at once, and in a group of its own, so that Ctrl-C
  # ends nothing behind our back.
  set -m
  (
    if [ "$1" = grouped ]; then cgroup_join "$E2E_RUN"; fi
    exec "${@:2}" </dev/null
  ) &
  running=$!
  set +m
  # shellcheck disable=SC2034
  wait "$running" || run_status=$?
  running=
}

# For an EXIT trap. Fails when something could not be ended.
end_run() {
  local status=0 hosts
  trap '' INT TERM HUP
  if [ -n "${running:-}" ]; then
    say "ending what is running..."
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
  return "$status"
}
