#!/usr/bin/env bash
# Lets nginx do what it needs to where SELinux is on; a machine without SELinux needs nothing.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${BOOLEANS?space-separated names}" "${WEB_PORTS?space-separated TCP ports}"

if ! command -v selinuxenabled >/dev/null || ! selinuxenabled; then
  say "SELinux is off here: nothing to allow"
  exit 0
fi
for boolean in $BOOLEANS; do
  [[ $(getsebool "$boolean") == *"--> on" ]] || change SELinux "$boolean" "this boolean is not on" quietly setsebool -P "$boolean" 1 || fail "SELinux refused to set the boolean $boolean: see 'getsebool -a' on the machine"
done
may_use() {
  semanage port -l | awk -v port="$1" '$1 == "http_port_t" && $2 == "tcp" { gsub(",", " "); for (i = 3; i <= NF; i++) if ($i == port) found = 1 } END { exit !found }'
}
for port in $WEB_PORTS; do
  if looking; then
    may_use "$port" || differs SELinux "$port/tcp" "nginx may not use this port"
    continue
  fi
  command -v semanage >/dev/null || quietly dnf -q -y install policycoreutils-python-utils ||
    fail "dnf could not install policycoreutils-python-utils, which SELinux needs to let nginx use port $port"
  quietly semanage port --add --type http_port_t --proto tcp "$port" ||
    quietly semanage port --modify --type http_port_t --proto tcp "$port" ||
    fail "SELinux refused to let nginx use port $port: see 'semanage port -l' on the machine"
done
