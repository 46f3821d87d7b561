#!/usr/bin/env bash
# Puts a staged set (files, and the release that a link points to) in place as one, restarts the service, and puts the
# earlier set back when the service does not answer: an earlier server must not be lost to a change that fails.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${UNIT:?}" "${FILES:?a line each: staged|live|owner:group|mode|reload or restart}" "${LINK:?}" "${LINK_TARGET:?}"
: "${RESTART_ON?what else the service reads at its start, as a name that changes with it}" "${REVISION:?of all of this}"
: "${HEALTH_URL:?}" "${START_SECONDS:?}" "${KEEP:?folder for the set that answered last}"
: "${RUN_AS:?}" "${NEEDS?shell command, as that account, without whose success it cannot start}" "${OTHERWISE?the sentence when that fails}"
: "${TAKE_OVER?program that makes a server of other origin one that this can put back; empty where there is none}" "${TAKE_OVER_FROM?its unit}"

# Stands from before the first change until the service was seen to work again: what was cut off in between is done over.
UNPROVEN=$KEEP.unproven

each_file() {
  local staged live owner mode effect
  while IFS='|' read -r staged live owner mode effect; do
    "$1" "$staged" "$live" "$owner" "$mode" "$effect" || return
  done <<<"$FILES"
}

# What is as it should be is not written again: systemd would have to read all of its units anew for it.
put() { # SOURCE LIVE OWNER MODE
  { cmp -s "$1" "$2" && [[ ! -L $2 && -z $(attributes "$2" "$3" "$4") ]]; } || write_as "${3%%:*}" "$4" "$2" <"$1" || return
  relabel "$2"
}
keep() { install -m 0600 "$2" "$KEEP.new/$(basename "$2")"; }
put_back() { put "$KEEP/$(basename "$2")" "$2" "$3" "$4"; }

point_link() {
  ln -sfnT "$1" "$LINK.new" && mv -fT "$LINK.new" "$LINK"
}

# What it takes until the service runs with the staged set: nothing, a reload, or a restart.
needed=nothing
compare() {
  ! cmp -s "$1" "$2" || return 0
  [[ $5 == reload && $needed != restart ]] && needed=reload || needed=restart
}

# The release before this one stays, too; what is older goes.
prune_releases() {
  local before release
  before=$(cat "$KEEP/link-target" 2>/dev/null || true)
  [[ $before != "$LINK_TARGET" ]] || before=$(cat "$KEEP/release-before" 2>/dev/null || true)
  printf '%s\n' "$before" >"$KEEP.new/release-before"
  for release in "$(dirname "$LINK_TARGET")"/*; do
    [[ $release == "$LINK_TARGET" || $release == "$before" ]] || rm -rf "$release"
  done
}

remember() {
  rm -rf "$KEEP.new"
  install -d -m 0700 "$KEEP.new"
  each_file keep
  prune_releases
  printf '%s\n' "$LINK_TARGET" >"$KEEP.new/link-target"
  printf '%s\n' "$RESTART_ON" >"$KEEP.new/restart-on"
  rm -rf "$KEEP"
  mv -T "$KEEP.new" "$KEEP"
  rm -f "$UNPROVEN"
}

has_kept() { [[ -e $KEEP/link-target && -e $(cat "$KEEP/link-target") ]]; }
put_all_back() { each_file put_back && point_link "$(cat "$KEEP/link-target")"; }

# Who else has the port that the service needs, if anybody has. Whoever is taken over gives it up.
stranger() {
  local port=${HEALTH_URL##*:} holder unit
  holder=$(ss -Hltnp "sport = :${port%%/*}" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\),.*/\1 \2/p' | head -n 1)
  [[ -n $holder ]] || return 0
  for unit in "$UNIT" ${TAKE_OVER_FROM:+"$TAKE_OVER_FROM"}; do
    ! grep -qsF "/$unit" "/proc/${holder#* }/cgroup" || return 0
  done
  printf '%s (process %s) has port %s' "${holder% *}" "${holder#* }" "${port%%/*}"
}
# What went wrong, as the end of a sentence.
restart() {
  read_unit "$UNIT"
  systemctl reset-failed "$UNIT" 2>/dev/null || true
  problem="did not start"
  timeout "$START_SECONDS" systemctl restart "$UNIT" >/dev/null 2>&1 || return 1
  problem="did not answer within $START_SECONDS s"
  wait_until "$START_SECONDS" answers "$UNIT" "$HEALTH_URL"
}
reload() {
  problem="did not reload"
  systemctl reload "$UNIT" >/dev/null 2>&1 && wait_until "$START_SECONDS" answers "$UNIT" "$HEALTH_URL"
}

look() { look_at_file "$LOOK_WANTED$1" "$2" "$3" "$4"; }
if looking; then
  each_file look
  [[ $(readlink "$LINK") == "$LINK_TARGET" ]] || differs file "$LINK" "it names $(readlink "$LINK" || printf nothing) and should name $LINK_TARGET"
  enabled "$UNIT"
  if ! systemctl is-active -q "$UNIT"; then
    differs service "$UNIT" "it is not running"
  elif ! answers "$UNIT" "$HEALTH_URL"; then
    differs service "$UNIT" "it runs and does not answer"
  fi
  exit 0
fi

each_file compare
[[ $(readlink "$LINK") == "$LINK_TARGET" && $(cat "$KEEP/restart-on" 2>/dev/null) == "$RESTART_ON" ]] || needed=restart
[[ ! -e $UNPROVEN ]] && answers "$UNIT" "$HEALTH_URL" || needed=restart

# What the configuration is not to blame for is found while what runs still runs.
[[ $needed == nothing ]] || ! is_full || fail "$UNIT could not be changed, and it was left alone"
if [[ $needed == restart ]]; then
  [[ -z $NEEDS ]] || quietly runuser -u "$RUN_AS" -- bash -c "$NEEDS" || fail "$OTHERWISE; nothing was changed, and $UNIT was left alone"
  other=$(stranger)
  [[ -z $other ]] || fail "another program, $other, which $UNIT needs: stop it, then run pulumi up again; nothing was changed"
fi
[[ $needed == nothing ]] || touch "$UNPROVEN"
[[ -z $TAKE_OVER || $needed != restart ]] || "$TAKE_OVER" "$LINK_TARGET" || fail "the server that was there before could not be taken over (see above): put that right, then run pulumi up again"
{ each_file put && point_link "$LINK_TARGET"; } || {
  # One that was just taken over does not run.
  if has_kept; then { put_all_back && { answers "$UNIT" "$HEALTH_URL" || restart; }; } || true; fi
  fail "the files of $UNIT could not be put in place (see above); it goes on with what it started with"
}
enabled "$UNIT" || fail "systemd refused the unit $UNIT: see 'systemctl status $UNIT' on the machine"
case $needed in
nothing)
  say "$UNIT runs with all of this already"
  exit 0
  ;;
reload) say "reloading $UNIT" ;;
restart) say "starting $UNIT" ;;
esac
if "$needed"; then
  remember
  exit 0
fi

first_problem=$problem
journalctl -q -u "$UNIT" -n 20 --no-pager -o cat >&2 || true
if ! has_kept; then
  fail "$UNIT $first_problem (its last words are above; more: 'journalctl -u $UNIT' on the machine)"
fi
put_all_back
if restart; then
  rm -f "$UNPROVEN"
  fail "$UNIT $first_problem with the new configuration or release (its last words are above), so the earlier ones were put back and are serving: correct the setting, then run pulumi up again"
fi
fail "$UNIT $first_problem with the new configuration or release, nor did it work with the earlier ones that were put back: see 'journalctl -u $UNIT' on the machine"
