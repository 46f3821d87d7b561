#!/usr/bin/env bash
# What the commands for operators share: a stack's settings, and a login to its machine that trusts no other. The caller sets
# $stack, and $work to a folder of its own. A stack's settings that lie elsewhere are named by CONFIG_FILE.
set -euo pipefail

die() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
  exit 1
}

# need PROGRAM...
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || die "$program is missing here: install it."
  done
}

# setting NAME [DEFAULT]
setting() {
  pulumi config get --stack "$stack" ${CONFIG_FILE:+--config-file "$CONFIG_FILE"} --path "$1" 2>/dev/null || printf '%s' "${2-}"
}

# No other machine is trusted in the place of the one that the stack names.
prepare_ssh() {
  local key_file
  user=$(setting host.user root)
  address=$(setting host.address)
  [[ -n $address ]] || die "the stack $stack names no machine (host.address)."
  printf 'machine %s\n' "$(setting host.hostKey)" >"$work/known_hosts"
  ssh_command=(ssh -T -p "$(setting host.port 22)" -l "$user" -o BatchMode=yes -o HostKeyAlias=machine -o StrictHostKeyChecking=yes
    -o UserKnownHostsFile="$work/known_hosts" -o GlobalKnownHostsFile=/dev/null -o ServerAliveInterval=30 -o LogLevel=ERROR)
  key_file=$(setting host.privateKeyFile)
  [[ -z $key_file ]] || ssh_command+=(-i "$key_file" -o IdentitiesOnly=yes)
  [[ $user == root ]] && sudo='' || sudo='sudo -n '
}
on_machine() { "${ssh_command[@]}" "$address" "$@" </dev/null; }
# as_root COMMAND: it has standard input.
as_root() { "${ssh_command[@]}" "$address" "$sudo$1"; }
