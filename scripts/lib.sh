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
# So does a clock that is wrong, wherever there is TLS.
date_was_refused=
# disks_below MB: file systems of this machine with less than that free, and how much that is; one without inodes is as full.
disks_below() {
  { df --output=avail,iavail,itotal,target -BM / /opt /tmp /var /var/tmp /var/log /var/cache/dnf /var/lib/{rpm,matrix-homeserver,pgsql,pgsql/data} 2>/dev/null || true; } |
    awk -v limit="$1" 'NR > 1 && $1 + 0 < limit { print $4 " has " $1 + 0 " MB free" } NR > 1 && $1 + 0 >= limit && $2 == "0" && $3 > 0 { print $4 " has no inodes free" }' |
    sort -u | paste -sd , | sed 's/,/, /g'
}
is_full() { [[ -n $disk_was_full || -n $(disks_below 4) ]]; }
# The last lines of what a tool said of its failure.
show_failure() {
  printf '%s\n' "$1" | tail -n 30 >&2 || true
  case $1 in
  *"No space left on device"* | *"Failed writing received data to disk"*) disk_was_full=yes ;;
  *"certificate has expired"* | *"certificate is not yet valid"*) date_was_refused=yes ;;
  esac
  # dnf's own words, which say how much.
  [[ $1 != *"more space needed on"* ]] || disk_was_full=$(grep -om1 '[0-9]*[KMG]B more space needed on the .* filesystem' <<<"$1")
}

failed=
fail() {
  local sentence=$* full disk
  # One that speaks of space itself is the better one.
  if [[ $sentence != *" MB are free"* ]] && is_full; then
    full=$(disks_below 4)
    disk=${full%% *}
    # What was made before the space ran out may be gone again.
    [[ -n $full || $disk_was_full != yes ]] || full=$(disks_below 1024)
    full=${full:-$disk_was_full}
    sentence="the machine's disk is full${full:+ ($full)}: free some space ('du -xh ${disk:-/} | sort -h | tail' shows what takes it), or enlarge the disk, then run pulumi up again; what failed is that ${sentence%%:*}"
  fi
  [[ -z $date_was_refused ]] ||
    sentence+="; a certificate was refused for its date (see above), and this machine's clock says $(date -u '+%F %R') UTC: when that is not so, set it first ('timedatectl set-ntp true' with chrony installed, or 'date -s')"
  failed=yes
  say "error: $sentence"
  exit 1
}

# Where only a look is wanted (tools/drift.sh), LOOK is the name of the resource that the script belongs to. What differs from what
# the script would make of the machine is told on descriptor 3.
looking() { [[ -n ${LOOK:-} ]]; }

# differs KIND NAME HOW [DIFFERENCE]
differs() { printf '%s\t%s\t%s\t%s\t%s\n' "$LOOK" "$1" "$2" "$3" "$(printf '%s' "${4-}" | base64 -w 0)" >&3; }

# change KIND NAME HOW COMMAND...: puts right what is not, by COMMAND.
change() {
  if looking; then differs "$1" "$2" "$3"; else "${@:4}"; fi
}

# lost NAME HOW: what only a backup brings back, and an update would make anew. Nothing more can be looked at then.
lost() {
  ! looking || {
    differs lost "$1" "$2"
    exit 0
  }
}

# attributes PATH OWNER:GROUP MODE: says what is wrong with them; nothing, where nothing is.
attributes() {
  local are
  are=$(stat -c '%U:%G 0%a' "$1")
  [[ $are == "$2 $3" ]] || printf 'its owner and mode are %s and should be %s' "$are" "$2 $3"
}

# look_at_file WANTED PATH OWNER:GROUP MODE: WANTED is a file with what should be in PATH; where there is a WANTED.secret beside it,
# nobody is shown what is.
look_at_file() {
  local how difference=
  if [[ -L $2 || ! -f $2 ]]; then
    [[ -e $2 || -L $2 ]] && how="it is something else than a file" || how="it is missing"
    differs file "$2" "$how"
    return
  fi
  if ! cmp -s "$1" "$2"; then
    if [[ -e $1.secret ]]; then
      how="its content differs (secret, not shown)"
    else
      how="its content differs"
      difference=$(diff -u --label "as the stack has it" --label "as it is on the machine" "$1" "$2" || true)
    fi
    differs file "$2" "$how" "$difference"
  fi
  how=$(attributes "$2" "$3" "$4")
  [[ -z $how ]] || differs file "$2" "$how"
}

# enabled UNIT: starts after every boot from now on, also when somebody had masked it.
enabled() {
  local state
  state=$(systemctl is-enabled "$1" 2>/dev/null || true)
  # A unit that is not there is missing as a file or a package, and told as that.
  [[ $state == enabled ]] || { looking && [[ -z $state || $state == not-found ]]; } ||
    change service "$1" "it is $state and should be enabled" enable "$1" "$state"
}
enable() {
  [[ $2 != masked* ]] || quietly systemctl unmask "$1"
  [[ $2 != masked-runtime ]] || quietly systemctl unmask --runtime "$1"
  quietly systemctl enable "$1"
}

# read_unit UNIT: systemd knows it as it is on disk. It reads all of its units for that, so only when it has to.
read_unit() {
  [[ $(systemctl show --property LoadState,NeedDaemonReload "$1" | sort | paste -sd ' ') == "LoadState=loaded NeedDaemonReload=no" ]] ||
    systemctl daemon-reload
}

# running UNIT COMMAND...: COMMAND makes it run.
running() { systemctl is-active -q "$1" || change service "$1" "it is not running" "${@:2}"; }

# Most tools' chatter interests nobody until they fail.
quietly() {
  local output status=0
  output=$("$@" 2>&1 </dev/null) || status=$?
  ((status != 0)) || return 0
  show_failure "$output"
  # A tool that is killed has no words of its own.
  ((status != 137)) || say "it was killed: when the machine ran out of memory, 'journalctl -k' on it says so"
  return 1
}

# begin_step NAME: for what an update runs, one at a time. It goes on to its end also when the update was cut off and nobody
# listens any more; the next update waits for that. A look waits for nobody.
begin_step() {
  ! looking || return 0
  local lock=/run/lock/matrix-homeserver-step-$1
  trap '' HUP PIPE
  trap 'fail "this step took longer than it may, and was ended: see what the machine is busy with (top, journalctl -n 50), then run pulumi up again"' TERM
  trap 'status=$?; ((status == 0)) || [[ -n $failed ]] || ! is_full || fail "a step could not be finished"' EXIT
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

# answers UNIT URL: whether the unit runs, and Synapse answers there.
answers() { systemctl is-active -q "$1" && curl -sf -o /dev/null --max-time 5 "$2"; }

# last_backup STATUS: where the last whole backup is; nothing, where there is none. STATUS is the file that backups tell of themselves in.
last_backup() { sed -n 's/^file=//p' "$1" 2>/dev/null || true; }

# The machine's own PostgreSQL, as its administrator.
as_postgres() { runuser -u postgres -- "$@"; }
postgres_sql() { as_postgres psql -qAtX -v ON_ERROR_STOP=1 "$@"; }
postgresql_answers() { postgres_sql -c 'SELECT 1'; }

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

# secret_file USER FILE TEXT: FILE is a line that this user alone reads.
secret_file() {
  local how
  if ! looking; then
    write_as "$1" 0600 "$2" <<<"$3"
  elif [[ ! -f $2 ]]; then
    differs file "$2" "it is missing"
  else
    cmp -s - "$2" <<<"$3" || differs file "$2" "its content differs (secret, not shown)"
    how=$(attributes "$2" "$1:$1" 0600)
    [[ -z $how ]] || differs file "$2" "$how"
  fi
}
