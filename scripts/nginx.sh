#!/usr/bin/env bash
# nginx runs with the configuration that is on disk now. A reload keeps every open connection.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${CONFIGURATION:?what the configuration and certificates are now; a change is why this runs again}"
: "${REPLACED?files that this configuration replaces, one a line}" "${BEFORE:?folder that they go to}"

moved=()
move_replaced() {
  local file
  while read -r file; do
    [[ -e $file ]] || continue
    install -d -m 0700 "$BEFORE"
    mv -f "$file" "$BEFORE/"
    moved+=("$file")
  done <<<"$REPLACED"
}
move_back() {
  local file
  for file in "${moved[@]}"; do mv -f "$BEFORE/$(basename "$file")" "$file"; done
}

looking || move_replaced
looking || quietly nginx -t || {
  move_back
  fail "nginx refuses its configuration (see above); the running one was left alone"
}
enabled nginx
if looking; then
  running nginx
elif systemctl is-active -q nginx; then
  reload_nginx ||
    fail "nginx did not take its new configuration and goes on with the earlier one (its words are above): when another program has one of its ports ('ss -ltnp' on the machine), stop that first, then run pulumi up again"
else
  say "starting nginx"
  # systemd that looks at nginx's PID file between its making and its filling waits for it until it gives up, with nothing
  # wrong: once more, then.
  quietly timeout 30 systemctl start nginx || quietly systemctl restart nginx ||
    fail "nginx did not start: see 'journalctl -u nginx'; when another program has port 80 or 443 ('ss -ltnp'), stop that first"
fi
