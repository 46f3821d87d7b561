#!/usr/bin/env bash
# Everything that the lab starts runs in a control group of its own, matrix-lab/NAME: so two hosts never meet in one group,
# and all that is left of a host is found and ended, however its start or its end went wrong. To be sourced.

# The hierarchies that systemd uses on this machine: cgroup v2, on hybrid machines beside v1's name=systemd.
cgroup_roots() {
  awk '$3 == "cgroup2" || ($3 == "cgroup" && $4 ~ /name=systemd/) { print $2 }' /proc/mounts
}

# Moves the calling shell.
cgroup_join() {
  local root joined=
  while IFS= read -r root; do
    mkdir -p "$root/matrix-lab/$1"
    echo "$BASHPID" >"$root/matrix-lab/$1/cgroup.procs"
    joined=yes
  done < <(cgroup_roots)
  [ -n "$joined" ] || die "this machine has no control groups mounted under /sys/fs/cgroup: a lab host cannot boot on it."
}

cgroup_pids() {
  local root
  while IFS= read -r root; do
    # Groups and processes may end while they are looked at.
    find "$root/matrix-lab/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done < <(cgroup_roots) | sort -u
}

cgroup_is_populated() {
  [ -n "$(cgroup_pids "$1")" ]
}

# Ends all processes at once and removes the group.
cgroup_kill() {
  local root pids attempt
  for attempt in {1..200}; do
    pids=$(cgroup_pids "$1")
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # one word a process
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
  [ "$attempt" -lt 200 ] || die "processes of $1 cannot be ended: $(tr '\n' ' ' <<<"$pids")"
  while IFS= read -r root; do
    [ -d "$root/matrix-lab/$1" ] || continue
    find "$root/matrix-lab/$1" -depth -type d -exec rmdir {} \; || true
    rmdir --ignore-fail-on-non-empty "$root/matrix-lab" 2>/dev/null || true
  done < <(cgroup_roots)
}
