#!/usr/bin/env bash
# Takes this program's part out of nginx, which goes on serving whatever else it serves.
set -euo pipefail
: "${FILES:?one a line}"

while read -r file; do
  rm -f "$file"
done <<<"$FILES"
systemctl is-active -q nginx || exit 0
quietly systemctl reload nginx || fail "nginx did not reload: see 'journalctl -u nginx' on the machine"
