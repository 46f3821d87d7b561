#!/usr/bin/env bash
# Opens services in firewalld's default zone, now and after every boot.
set -euo pipefail
: "${SERVICES:?space-separated firewalld service names}" "${OPENED:?file to note in what was opened here}"

systemctl is-active -q firewalld || quietly systemctl enable --now firewalld ||
  fail "firewalld did not start: see 'journalctl -u firewalld' on the machine"
wait_until 30 firewall-cmd --state || fail "firewalld runs but does not answer: see 'journalctl -u firewalld' on the machine"
quietly systemctl enable firewalld

changed=false
for service in $SERVICES; do
  firewall-cmd -q --permanent --query-service="$service" && continue
  quietly firewall-cmd --permanent --add-service="$service" || fail "firewalld refused to open the service $service"
  # Only what was opened here is closed again one day.
  printf '%s\n' "$service" >>"$OPENED"
  changed=true
done
# A reload makes the running rules those on disk, also when an earlier run was cut off before its own.
for service in $SERVICES; do
  firewall-cmd -q --query-service="$service" || changed=true
done
[[ $changed == false ]] || quietly firewall-cmd --reload || fail "firewalld did not reload: see 'journalctl -u firewalld' on the machine"
