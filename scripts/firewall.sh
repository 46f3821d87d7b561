#!/usr/bin/env bash
# Opens services and ports in firewalld's default zone, now and after every boot; closes what an earlier run had opened and
# nobody wants any more.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${OPEN:?space-separated service names and PORT/PROTOCOL}" "${OPENED:?file that names what was opened here, one a line}"

enabled firewalld
running firewalld quietly systemctl start firewalld || fail "firewalld did not start: see 'journalctl -u firewalld' on the machine"
# Only a firewalld that runs can be asked.
systemctl is-active -q firewalld || exit 0
wait_until 30 firewall-cmd --state || fail "firewalld runs but does not answer: see 'journalctl -u firewalld' on the machine"

if looking; then
  for item in $OPEN; do
    query="--query-$(firewall_kind "$item")=$item"
    if ! firewall-cmd -q --permanent "$query" || ! firewall-cmd -q "$query"; then differs firewall "$item" "it is not open, now and after a boot"; fi
  done
  exit 0
fi
changed=false
touch "$OPENED"
for item in $OPEN; do
  firewall-cmd -q --permanent "--query-$(firewall_kind "$item")=$item" && continue
  # Noted before it is done, so that it is closed again also when this is cut off.
  printf '%s\n' "$item" >>"$OPENED"
  quietly firewall-cmd --permanent "--add-$(firewall_kind "$item")=$item" || fail "firewalld refused to open $item"
  changed=true
done
while read -r item; do
  [[ " $OPEN " != *" $item "* ]] || continue
  quietly firewall-cmd --permanent "--remove-$(firewall_kind "$item")=$item" || fail "firewalld refused to close $item"
  sed -i "\|^$item\$|d" "$OPENED"
  changed=true
done < <(sort -u "$OPENED")
# A reload makes the running rules those on disk, also when an earlier run was cut off before its own.
for item in $OPEN; do
  firewall-cmd -q "--query-$(firewall_kind "$item")=$item" || changed=true
done
[[ $changed == false ]] || quietly firewall-cmd --reload || fail "firewalld did not reload: see 'journalctl -u firewalld' on the machine"
