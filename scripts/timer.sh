#!/usr/bin/env bash
# A service that a timer starts, from now on and after every boot.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${UNIT:?without .service and .timer}" "${SERVICE:?text of the one}" "${TIMER:?text of the other}" "${INSTALL_FILE:?program that puts a file in place}"

# put_unit PATH TEXT [CHECK]
put_unit() {
  if looking; then
    printf '%s' "$2" >"$LOOK_WANTED/unit"
    look_at_file "$LOOK_WANTED/unit" "$1" root:root 0644
  else
    printf '%s' "$2" | "$INSTALL_FILE" root:root 0644 "$1" "${@:3}"
  fi
}
folder=/etc/systemd/system
put_unit "$folder/$UNIT.service" "$SERVICE"
# A time that systemd cannot read would leave a timer that never runs.
# shellcheck disable=SC2016 # for install-file's shell
put_unit "$folder/$UNIT.timer" "$TIMER" 'systemd-analyze calendar "$(sed -n s/^OnCalendar=//p "$file")"'

looking || systemctl daemon-reload
enabled "$UNIT.timer" || fail "systemd refused the timer $UNIT: see 'systemctl status $UNIT.timer' on the machine"
if looking; then
  running "$UNIT.timer"
  exit 0
fi
quietly systemctl restart "$UNIT.timer" || fail "the timer $UNIT did not start: see 'systemctl status $UNIT.timer' on the machine"
