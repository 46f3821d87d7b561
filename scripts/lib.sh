#!/usr/bin/env bash
# What every script on the host may use. The program puts this file in front of each of them.
set -euo pipefail
export LC_ALL=C.UTF-8
umask 022
cd /

# Progress goes to stderr, because stdout is a script's answer to the program.
say() { printf '%s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Most tools' chatter interests nobody until they fail.
quietly() {
  local output
  if ! output=$("$@" 2>&1 </dev/null); then
    printf '%s\n' "$output" | tail -n 30 >&2
    return 1
  fi
}

# wait_until SECONDS COMMAND...: polls, because systemd's "started" is not yet "answers".
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# A value as libpq reads it in a password file.
pgpass_field() {
  local escaped=${1//\\/\\\\}
  printf '%s' "${escaped//:/\\:}"
}

# A value as a text in SQL.
literal() { printf "'%s'" "${1//\'/\'\'}"; }

# relabel [-R] PATH...: what was moved or written gets the SELinux label of its place, where SELinux is on.
relabel() {
  if command -v selinuxenabled >/dev/null && selinuxenabled; then restorecon -F "$@"; fi
}

# What firewall-cmd calls an item of its own: a port is written with its protocol.
firewall_kind() {
  case $1 in
  */*) printf port ;;
  *) printf service ;;
  esac
}

# write_as USER MODE FILE: standard input becomes FILE, of that user and mode, at once. It is the user who writes: where a folder
# is somebody else's, root must not be led elsewhere by a link in it.
# shellcheck disable=SC2016 # for the inner shell
write_as() {
  runuser -u "$1" -- bash -euo pipefail -c 'umask 077; cat >"$2.new"; chmod "$1" "$2.new"; sync "$2.new"; mv -fT "$2.new" "$2"' write "$2" "$3"
}
