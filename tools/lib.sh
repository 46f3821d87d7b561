#!/usr/bin/env bash
# What the commands for operators share: a stack's settings, and a login to its machine that trusts no other. A stack's settings
# that lie elsewhere are named by CONFIG_FILE.
set -euo pipefail

# Made by the stack on its machine, where it has a store for its backups.
# shellcheck disable=SC2034
STORE_PROGRAM=/usr/local/libexec/matrix-homeserver/backup-store

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

# begin EXAMPLE PROGRAM...: $stack is the stack that STACK names, $work a folder until the command's end.
begin() {
  stack=${STACK:-}
  [[ -n $stack ]] || die "name the stack: $1"
  need "${@:2}"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
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
    -o UserKnownHostsFile="$work/known_hosts" -o GlobalKnownHostsFile=/dev/null -o ConnectTimeout=20 -o ServerAliveInterval=30 -o LogLevel=ERROR)
  key_file=$(setting host.privateKeyFile)
  [[ -z $key_file ]] || ssh_command+=(-i "$key_file" -o IdentitiesOnly=yes)
  [[ $user == root ]] && sudo='' || sudo='sudo -n '
}
on_machine() { "${ssh_command[@]}" "$address" "$@" </dev/null; }
# as_root COMMAND: it has standard input.
as_root() { "${ssh_command[@]}" "$address" "$sudo$1"; }

# compose SCRIPT NAME=VALUE...: a script in scripts/ as it runs on the machine, with what it is told. In a function with an input of its
# own: bash reads the script from the input that its commands would inherit.
compose() {
  local script=$1 variable
  shift
  for variable in "$@"; do printf '%s=%q\n' "${variable%%=*}" "${variable#*=}"; done
  printf 'main() {\n'
  cat scripts/lib.sh "scripts/$script"
  printf '}\nmain "$@" </dev/null\n'
}

# Asks for what make_stack needs: the machine, and a login to it. ask_for_machine DEFAULT_ADDRESS
ask_for_machine() {
  address=$(answer ADDRESS "Address of the machine" "$1")
  [[ -n $address ]] || die "the machine's address is missing: give its host name or IP address."
  port=$(answer PORT "SSH port" 22)
  user=$(answer LOGIN_USER "SSH user (root, or one with passwordless sudo)" root)
  key_file=$(answer KEY_FILE "Private SSH key file (empty: the ssh-agent's keys)" "")
  host_key=$(read_host_key "$address" "$port")
  confirm_host_key "$address" "$host_key"
}

# A new stack that knows its machine and nothing else.
make_stack() {
  pulumi stack init "$stack" >/dev/null || die "pulumi could not make the stack $stack (see above)."
  set_config host.address "$address"
  [[ $port == 22 ]] || set_config host.port "$port"
  [[ $user == root ]] || set_config host.user "$user"
  [[ -z $key_file ]] || set_config host.privateKeyFile "$key_file"
  set_config host.hostKey "$host_key"
}

# answer VARIABLE QUESTION DEFAULT: what was set beforehand, else what the person types, else the default.
answer() {
  local reply=${!1-}
  if [[ -z ${!1+set} && -t 0 ]]; then
    read -rp "$2${3:+ [$3]}: " reply </dev/tty
  fi
  printf '%s\n' "${reply:-$3}"
}

resolve() {
  getent ahostsv4 "$1" 2>/dev/null | awk 'NR == 1 { print $1 }' || true
}

read_host_key() {
  local keys
  keys=$(ssh-keyscan -T 10 -p "$2" -t ed25519,ecdsa,rsa "$1" 2>/dev/null | grep -v '^#' | sort -k2,2 | awk '{ print $2, $3 }')
  [[ -n $keys ]] || die "no SSH server answers at $1 port $2: check the address, and that its firewall lets this machine in."
  # The newest kind that the machine has.
  grep -m 1 '^ssh-ed25519 ' <<<"$keys" || head -n 1 <<<"$keys"
}

confirm_host_key() {
  local reply
  printf 'The machine at %s has the host key\n  %s\nOn the machine, ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub must print the same.\n' "$1" \
    "$(ssh-keygen -lf - <<<"$2")" "$(sed -E 's/^(ssh-)?([a-z0-9]+).*/\2/' <<<"$2")" >&2
  [[ -t 0 ]] || return 0
  read -rp "Is that it? [y/N]: " reply </dev/tty
  [[ $reply == [yY]* ]] || die "nothing was written."
}

set_config() {
  pulumi config set --stack "$stack" ${CONFIG_FILE:+--config-file "$CONFIG_FILE"} --path "$1" -- "$2"
}
