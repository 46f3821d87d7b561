#!/usr/bin/env bash
# Stops a service for good and removes what can be made again. A machine where it is gone already needs nothing.
set -euo pipefail
: "${UNIT:?}" "${PATHS:?files and folders, one a line}"

if systemctl cat "$UNIT" >/dev/null 2>&1; then
  quietly systemctl disable --now "$UNIT" || fail "systemd could not stop $UNIT: see 'systemctl status $UNIT' on the machine"
fi
while read -r path; do
  rm -rf "$path"
done <<<"$PATHS"
systemctl daemon-reload
systemctl reset-failed "$UNIT" 2>/dev/null || true
