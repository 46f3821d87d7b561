#!/usr/bin/env bash
# A timer that runs from now on and after every boot.
set -euo pipefail
: "${UNIT:?}" "${TIMES:?when it runs; a change is why this runs again}"

systemctl daemon-reload
quietly systemctl enable "$UNIT" || fail "systemd refused the timer $UNIT: see 'systemctl status $UNIT' on the machine"
quietly systemctl restart "$UNIT" || fail "the timer $UNIT did not start: see 'systemctl status $UNIT' on the machine"
