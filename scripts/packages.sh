#!/usr/bin/env bash
# Makes sure that module streams, packages and package groups are installed. Never switches a stream that is in use.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${MODULES?space-separated name:stream}" "${PACKAGES?space-separated}" "${GROUPS_WANTED?one a line}"

LOCK_WAIT_SECONDS=300

# dnf would wait for its lock for ever; somebody's forgotten dnf must end in a sentence instead. Leaves what dnf said in
# $dnf_output.
dnf_when_free() {
  local deadline=$((SECONDS + LOCK_WAIT_SECONDS)) status
  while :; do
    status=0
    dnf_output=$(dnf -q -y --setopt=exit_on_lock=True "$@" 2>&1 </dev/null) || status=$?
    ((status == 200)) || return "$status"
    ((SECONDS < deadline)) || fail "another dnf has held its lock for $LOCK_WAIT_SECONDS s: let it finish or end it (ps -C dnf), then run pulumi up again"
    sleep 2
  done
}

# The machine's copy of the repositories' lists may be older than the repositories, whose files have other names by now.
with_fresh_lists() {
  dnf_when_free "$@" || dnf_when_free --refresh "$@" || {
    show_failure "$dnf_output"
    return 1
  }
}

stream_enabled() { grep -qsx "stream *= *${1#*:}" "/etc/dnf/modules.d/${1%%:*}.module" && grep -qsx 'state *= *enabled' "/etc/dnf/modules.d/${1%%:*}.module"; }

for module in $MODULES; do
  stream_enabled "$module" || change package "$module" "this module stream is not enabled" with_fresh_lists module enable "$module" ||
    fail "dnf could not enable the module stream $module: when another stream of ${module%%:*} is in use here, remove its packages or run 'dnf module reset ${module%%:*}' after saving its data; otherwise check that the machine's repositories can be reached ('dnf repolist -v')"
done

missing=()
miss() { missing+=("$1"); }
for package in $PACKAGES; do
  rpm -q --quiet --whatprovides "$package" || change package "$package" "it is not installed" miss "$package"
done
if ((${#missing[@]})); then
  say "installing ${missing[*]}"
  with_fresh_lists install "${missing[@]}" ||
    fail "dnf could not install ${missing[*]}: check that the machine's repositories can be reached ('dnf repolist -v'), then run pulumi up again"
fi

# dnf itself sees what is missing of a group; asking it takes too long for a look.
looking || while read -r group; do
  [[ -n $group ]] || continue
  say "installing the group $group"
  with_fresh_lists group install "$group" ||
    fail "dnf could not install the group \"$group\": check the machine's repositories ('dnf group list'), then run pulumi up again"
done <<<"$GROUPS_WANTED"
