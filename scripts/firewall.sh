#!/usr/bin/env bash
# Opens services and ports in firewalld's default zone, now and after every boot; closes what an earlier run had opened and
# nobody wants any more.
set -euo pipefail
: "${OPEN:?space-separated service names and PORT/PROTOCOL}" "${OPENED:?file that names what was opened here, one a line}"

systemctl is-active -q firewalld || quietly systemctl enable --now firewalld ||
  fail "firewalld did not start: see 'journalctl -u firewalld' on the machine"
wait_until 30 firewall-cmd --state || fail "firewalld runs but does not answer: see 'journalctl -u firewalld' on the machine"
quietly systemctl enable firewalld

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
