#!/usr/bin/env bash
# Makes the backup that stays when everything else is removed, with nobody writing any more. Runs before anything is removed, so
# that a failure leaves all of it, and serving.
set -euo pipefail
: "${UNIT:?}" "${PROGRAM:?}" "${PURGE_FILE:?}" "${STATUS:?}"

# It is also gone when purge is taken back, while the service goes on.
[[ $(cat "$PURGE_FILE" 2>/dev/null) == true ]] || exit 0
answer=0
quietly systemctl stop "$UNIT" || answer=1
# A backup of the timer's may be on its way.
((answer)) || timeout 43200 bash -c 'flock 9' 9>/run/lock/matrix-homeserver-backup || answer=1
((answer)) || "$PROGRAM" </dev/null || answer=1
((answer == 0)) || {
  systemctl start "$UNIT" >/dev/null 2>&1 || true
  fail "the last backup could not be made (see above), so nothing was removed and the homeserver goes on: put right what is said above, or give everything up without a backup with 'pulumi config set purge without-backup' and pulumi up; then run pulumi destroy again"
}
say "the last backup is $(last_backup "$STATUS"), and it stays"
