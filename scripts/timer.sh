#!/usr/bin/env bash
# A timer that runs from now on and after every boot.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${UNIT:?}" "${TIMES:?when it runs; a change is why this runs again}"

looking || systemctl daemon-reload
enabled "$UNIT" || fail "systemd refused the timer $UNIT: see 'systemctl status $UNIT' on the machine"
if looking; then
  running "$UNIT"
  exit 0
fi
quietly systemctl restart "$UNIT" || fail "the timer $UNIT did not start: see 'systemctl status $UNIT' on the machine"
