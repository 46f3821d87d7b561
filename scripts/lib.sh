#!/usr/bin/env bash
# What every script on the host may use. The program puts this file in front of each of them.
set -euo pipefail
export LC_ALL=C.UTF-8
umask 022
cd /

# Progress goes to stderr, because stdout is a script's answer to the program. Nobody may be listening any more.
say() { printf '%s\n' "$*" >&2 || true; }

# A full disk has another name in every program, and fails whatever comes along: then the sentence is about the disk.
disk_was_full=
full_disks() { df --output=avail,target -BM / /opt /var /tmp 2>/dev/null | awk 'NR > 1 && $1 + 0 < 4 { print $2 }' | sort -u | paste -sd ' '; }
is_full() { [[ -n $disk_was_full || -n $(full_disks) ]]; }
# The last lines of what a tool said of its failure.
show_failure() {
  printf '%s\n' "$1" | tail -n 30 >&2 || true
  [[ $1 != *"No space left on device"* && $1 != *"more space needed on"* ]] || disk_was_full=yes
}

fail() {
  local sentence=$* full
  if is_full; then
    full=$(full_disks)
    sentence="the machine's disk is full${full:+ ($full)}: free some space ('du -xh / | sort -h | tail' shows what takes it), or enlarge the disk, then run pulumi up again; what failed is that ${sentence%%:*}"
  fi
  say "error: $sentence"
  exit 1
}

# Most tools' chatter interests nobody until they fail.
quietly() {
  local output
  if ! output=$("$@" 2>&1 </dev/null); then
    show_failure "$output"
    return 1
  fi
}

# begin_step NAME: for what an update runs, one at a time. It goes on to its end also when the update was cut off and nobody
# listens any more; the next update waits for that.
begin_step() {
  local lock=/run/lock/matrix-homeserver-step-$1
  trap '' HUP PIPE
  trap 'fail "this step took longer than it may, and was ended: see what the machine is busy with (top, journalctl -n 50), then run pulumi up again"' TERM
  trap 'status=$?; ((status == 0)) || ! is_full || fail "a step could not be finished"' EXIT
  exec 8>>"$lock"
  flock -w 600 8 ||
    fail "an earlier update, which was cut off, has been at work on this step for ten minutes: let it finish, or end it ('kill $(cat "$lock")' on the machine), then run pulumi up again"
  printf '%s\n' "$$" >"$lock"
}

# nginx takes what is on disk, without losing a connection; or goes on with what it had. systemd counts the signal as a success.
reload_nginx() {
  local master before
  master=$(systemctl show --property MainPID --value nginx)
  before=$(pgrep -P "$master" | sort)
  # shellcheck disable=SC2317 # called by wait_until
  has_new_workers() { [[ -n $(comm -13 <(printf '%s\n' "$before") <(pgrep -P "$master" | sort)) ]]; }
  quietly systemctl reload nginx && wait_until 20 has_new_workers && return
  grep -F '[emerg]' /var/log/nginx/error.log 2>/dev/null | tail -n 3 >&2 || true
  return 1
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
