#!/usr/bin/env bash
# Throw-away hosts to deploy to, on this machine. See lab/README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/lib.sh"
  . "$here/host/names.sh"
  . "$here/host/machine.sh"
  . "$here/host/cgroup.sh"
  . "$here/host/flavours.sh"
  . "$here/host/registry.sh"
  . "$here/host/network.sh"
  . "$here/host/userData.sh"
  . "$here/host/host.sh"
}

usage() {
  cat >&2 <<'USAGE'
usage: lab/lab.sh up NAME [--login-user cloud-user|root] [--flavour FLAVOUR] [--disk SIZE]   make a host and boot it
       lab/lab.sh down NAME...|--all    end hosts and remove every trace of them
       lab/lab.sh stop NAME             switch a host off and keep its disk
       lab/lab.sh start NAME            switch it on again
       lab/lab.sh reboot NAME
       lab/lab.sh ssh NAME [COMMAND...]
       lab/lab.sh list
       lab/lab.sh info NAME             where it is and how to log in, as JSON

A FLAVOUR is a system whose shape the host has: 8.9 (when none is named), 8.10, centos-8.5. A SIZE is in gigabytes: 3G.
USAGE
  exit 2
}

main() {
  local command=${1:-}
  shift || true
  case $command in
    up | down | stop | start | reboot)
      require_root lab/lab.sh "$command" "$@"
      require_tools
      "command_$command" "$@"
      ;;
    ssh | list | info) "command_$command" "$@" ;;
    *) usage ;;
  esac
}

# A name is part of a host name, of a folder and of a control group.
check_name() {
  [[ ${1:-} =~ ^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$ ]] ||
    die "'${1:-}' is no name for a lab host: use up to 20 lower-case letters, digits and hyphens, a letter first."
}

require_host() {
  check_name "${1:-}"
  host_exists "$1" || die "there is no lab host $1 in this checkout: make it with 'lab/lab.sh up $1'."
}

# What a command that did not come to its end has to undo: nothing, stop or remove.
undo=nothing
host=''
# In a trap, a bare `return` would give the status of what was interrupted: whatever this calls says `return 0`.
on_exit() {
  local status=$?
  trap '' INT TERM HUP
  case $undo in
    stop) clear_processes "$host" && leave_machine "$host" ;;
    remove)
      say "removing what was made of the host $host..."
      remove_host "$host"
      ;;
  esac
  [ -z "$host" ] || rm -f "$runtime/$host.lock"
  rmdir --ignore-fail-on-non-empty "$runtime" 2>/dev/null || true
  exit "$status"
}

# begin NAME: this command works on NAME, alone, and cleans up when it is interrupted.
begin() {
  lock_host "$1"
  host=$1
  trap on_exit EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  check_ownership "$1"
}

command_up() {
  local name=${1:-} user='' flavour='' disk='' started=$SECONDS
  check_name "$name"
  shift
  while [ "$#" -gt 0 ]; do
    case $1 in
      --login-user) user=${2:-} ;;
      --flavour) flavour=${2:-} ;;
      --disk) disk=${2:-} ;;
      *) usage ;;
    esac
    shift 2 || usage
  done
  case $user in
    '' | root | cloud-user) ;;
    *) die "a lab host's login user is cloud-user or root, not '$user'." ;;
  esac
  if [ -n "$flavour" ]; then check_flavour "$flavour"; fi
  [[ -z $disk || $disk =~ ^[1-9][0-9]*G$ ]] || die "a lab host's disk has a size such as 3G, not '$disk'."

  begin "$name"
  if ! host_exists "$name"; then
    make_new "$name" "${user:-cloud-user}" "${flavour:-8.9}" "$disk"
    say "the host $name is up: $(host_fact "$name" user)@$(host_fact "$name" address) ($((SECONDS - started)) s)"
    return 0
  fi
  if [ -n "$user" ] && [ "$user" != "$(host_fact "$name" user)" ]; then
    die "the host $name exists with the login user $(host_fact "$name" user): run 'lab/lab.sh down $name' first."
  fi
  if [ -n "$flavour" ] && [ "$flavour" != "$(host_fact "$name" flavour)" ]; then
    die "the host $name exists with the flavour $(host_fact "$name" flavour): run 'lab/lab.sh down $name' first."
  fi
  if cgroup_is_populated "$name" && answers "$name"; then
    publish_for "$name"
    say "the host $name is up already: $(host_fact "$name" user)@$(host_fact "$name" address)"
  else
    if cgroup_is_populated "$name"; then
      say "the host $name runs, but does not let its user log in: switching it off and on again..."
      power_off "$name"
    fi
    start_again "$name"
    say "the host $name is up again: $(host_fact "$name" user)@$(host_fact "$name" address) ($((SECONDS - started)) s)"
  fi
}

check_flavour() {
  [ -z "${LAB_ROOTFS:-}" ] || die "LAB_ROOTFS is a system of its own: leave --flavour out."
  flavours | grep -qxF -- "$1" ||
    die "the lab has no flavour '$1': name one of $(flavours | sort -V | paste -sd ' '), or give another system as LAB_ROOTFS (see lab/README.md)."
}

# make_new NAME USER FLAVOUR DISK
make_new() {
  local address
  undo=remove
  lock_machine
  claim "$1" ''
  unlock_machine
  create_host "$1" "$2" "$address" "$3" "$4"
  publish_for "$1"
  say "booting the host $1..."
  boot_host "$1"
  wait_for_host "$1"
  undo=nothing
}

# A host that was stopped, or whose processes died: with the disk that it had.
start_again() {
  local address
  undo=stop
  lock_machine
  claim "$1" "$(host_fact "$1" address)"
  unlock_machine
  [ "$address" = "$(host_fact "$1" address)" ] || move_host "$1" "$address"
  publish_for "$1"
  say "booting the host $1..."
  boot_host "$1"
  wait_for_host "$1"
  undo=nothing
}

command_start() {
  require_host "${1:-}"
  [ "$#" = 1 ] || usage
  command_up "$1"
}

command_stop() {
  require_host "${1:-}"
  begin "$1"
  stop_host "$1"
  say "the host $1 is off; its disk is kept"
}

command_reboot() {
  require_host "${1:-}"
  begin "$1"
  power_off "$1"
  start_again "$1"
  say "the host $1 is up again: $(host_fact "$1" user)@$(host_fact "$1" address)"
}

command_down() {
  local names=("$@") name
  if [ "${1:-}" = --all ]; then
    [ "$#" = 1 ] || usage
    mapfile -t names < <(own_hosts)
  elif [ "$#" = 0 ]; then
    usage
  fi
  for name in "${names[@]}"; do
    check_name "$name"
    # In a shell of its own, so that every host's lock and clean-up are its own.
    (down_one "$name")
  done
  [ "${#names[@]}" -gt 0 ] || say "there are no lab hosts in this checkout"
}

down_one() {
  begin "$1"
  if [ ! -d "$(host_dir "$1")" ] && [ -z "$(registered "$1" name)" ] && ! cgroup_is_populated "$1"; then
    say "there is no lab host $1"
    return 0
  fi
  # An interrupted removal is carried on to its end.
  undo=remove
  remove_host "$1"
  undo=nothing
  say "the host $1 is gone"
}

# All that this checkout has made, half-made or still has running.
own_hosts() {
  local file
  {
    if [ -d "$(lab_dir)/hosts" ]; then ls "$(lab_dir)/hosts"; fi
    for file in "$runtime"/*.json; do
      [ -f "$file" ] || continue
      jq -r --arg clone "$(lab_root)" 'select(.clone == $clone) | .name' "$file"
    done
  } | sort -u
}

command_ssh() {
  local ssh_words
  require_host "${1:-}"
  ssh_command "$1"
  shift
  exec "${ssh_words[@]}" "$@"
}

command_info() {
  require_host "${1:-}"
  jq 'del(.rootfs, .ownRootfs)' "$(host_dir "$1")/host.json"
}

command_list() {
  local name file state
  printf '%-20s %-8s %-14s %-11s %s\n' NAME STATE ADDRESS USER FLAVOUR
  while IFS= read -r name; do
    state=off
    if cgroup_is_populated "$name"; then state=running; fi
    if host_exists "$name"; then
      printf '%-20s %-8s %-14s %-11s %s\n' "$name" "$state" "$(host_fact "$name" address)" "$(host_fact "$name" user)" "$(host_fact "$name" flavour)"
    else
      printf '%-20s %-8s\n' "$name" half-made
    fi
  done < <(own_hosts)
  for file in "$runtime"/*.json; do
    [ -f "$file" ] || continue
    jq -r --arg clone "$(lab_root)" 'select(.clone != $clone) | "\(.name) at \(.address) belongs to the checkout in \(.clone)"' "$file"
  done
}

main "$@"
