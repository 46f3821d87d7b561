#!/usr/bin/env bash
# Closes what was opened for the homeserver. A machine that lost its firewalld has nothing to close.
set -euo pipefail
: "${OPENED:?file that names it, one a line}"

[[ -s $OPENED ]] && firewall-cmd -q --state || exit 0
while read -r item; do
  quietly firewall-cmd --permanent "--remove-$(firewall_kind "$item")=$item" || true
done <"$OPENED"
rm -f "$OPENED"
quietly firewall-cmd --reload || fail "firewalld did not reload: see 'journalctl -u firewalld' on the machine"
