#!/usr/bin/env bash
# A service whose files are in place runs with them: it starts anew when they changed, and has to work then.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${UNIT:?}" "${REVISION:?of its files}" "${RUNNING:?file that says which revision runs}"
: "${PROBE:?shell command that succeeds when it works}" "${START_SECONDS:?}"

works() { systemctl is-active -q "$UNIT" && bash -c "$PROBE"; }

if looking; then
  enabled "$UNIT"
  if ! systemctl is-active -q "$UNIT"; then
    differs service "$UNIT" "it is not running"
  elif ! works >/dev/null 2>&1; then
    differs service "$UNIT" "it runs and does not work"
  fi
  exit 0
fi

read_unit "$UNIT"
enabled "$UNIT" || fail "systemd refused the unit $UNIT: see 'systemctl status $UNIT' on the machine"
if [[ $(cat "$RUNNING" 2>/dev/null) == "$REVISION" ]] && works >/dev/null 2>&1; then
  say "$UNIT runs with all of this already"
  exit 0
fi

say "starting $UNIT"
rm -f "$RUNNING"
systemctl reset-failed "$UNIT" 2>/dev/null || true
problem="did not start"
if timeout "$START_SECONDS" systemctl restart "$UNIT" >/dev/null 2>&1; then
  problem="did not work within $START_SECONDS s"
  if wait_until "$START_SECONDS" works; then
    printf '%s\n' "$REVISION" >"$RUNNING"
    exit 0
  fi
fi
journalctl -q -u "$UNIT" -n 20 --no-pager -o cat >&2 || true
fail "$UNIT $problem (its last words are above; more: 'journalctl -u $UNIT' on the machine)"
