#!/usr/bin/env bash
# Lets nginx connect to Synapse where SELinux is on; a machine without SELinux needs nothing.
set -euo pipefail
: "${BOOLEANS:?space-separated names}"

if ! command -v selinuxenabled >/dev/null || ! selinuxenabled; then
  say "SELinux is off here: nothing to allow"
  exit 0
fi
for boolean in $BOOLEANS; do
  [[ $(getsebool "$boolean") == *"--> on" ]] && continue
  quietly setsebool -P "$boolean" 1 || fail "SELinux refused to set the boolean $boolean: see 'getsebool -a' on the machine"
done
