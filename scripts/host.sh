#!/usr/bin/env bash
# Looks at the machine before anything is changed on it, refuses what cannot work, and answers with its facts as JSON.
set -euo pipefail
: "${PLATFORMS:?a line each: release|python|python package|postgresql stream|nginx stream|newest Synapse}"
: "${SYNAPSE_VERSION:?}" "${MIN_FREE_MB:?}" "${LIBEXEC:?}" "${INSTALL_FILE:?the helper script that RemoteFile calls}"
: "${STACK:?project/stack}" "${STATE:?folder for what the program has to remember of the machine}"

[[ $(id -u) == 0 ]] || fail "the scripts must run as root: log in as root, or as a user with passwordless sudo (host.user)"

# A machine that is still setting itself up holds the dnf lock and may lack the login user's sudo rights.
if command -v cloud-init >/dev/null; then
  say "waiting for cloud-init to finish"
  timeout 300 cloud-init status --wait >/dev/null 2>&1 || say "cloud-init did not finish cleanly; going on (see: cloud-init status --long)"
fi

# shellcheck source=/dev/null
. /etc/os-release
case " $ID ${ID_LIKE:-} " in
*" rhel "* | *" centos "*) ;;
*) fail "this machine runs ${PRETTY_NAME:-$ID}; the program serves the EL8 family only: AlmaLinux, Rocky Linux, RHEL, Oracle Linux 8.8 or newer" ;;
esac
row=$(grep -F -- "$VERSION_ID|" <<<"$PLATFORMS" | grep -m1 "^${VERSION_ID//./\\.}|") ||
  fail "${PRETTY_NAME:-$ID $VERSION_ID} is not among the releases that can run Synapse $SYNAPSE_VERSION: update the machine to one of $(cut -d'|' -f1 <<<"$PLATFORMS" | paste -sd' ')"
IFS='|' read -r _ python python_package postgresql_stream nginx_stream newest_synapse <<<"$row"
if [[ -n $newest_synapse && $(printf '%s\n' "$newest_synapse" "$SYNAPSE_VERSION" | sort -V | tail -n1) != "$newest_synapse" ]]; then
  fail "${PRETTY_NAME:-$ID $VERSION_ID} can run Synapse up to $newest_synapse, and synapse.version is $SYNAPSE_VERSION: set synapse.version to $newest_synapse, or update the machine to release 8.8 or newer"
fi

architecture=$(uname -m)
case $architecture in
x86_64 | aarch64) ;;
*) fail "Synapse has no prebuilt packages for this machine's architecture, $architecture: use an x86_64 or aarch64 machine" ;;
esac

[[ $(cat /proc/1/comm) == systemd ]] || fail "process 1 of this machine is not systemd, so no service can be kept running: use a full machine, not a bare container"

for folder in /opt /var; do
  free_mb=$(df --output=avail -BM "$folder" | tail -n1 | tr -dc 0-9)
  ((free_mb >= MIN_FREE_MB)) || fail "only $free_mb MB are free for $folder, and $MIN_FREE_MB MB are needed: free some space, or give the machine a larger disk"
done

if command -v selinuxenabled >/dev/null && selinuxenabled; then selinux=true; else selinux=false; fi

# A stream that is in use is never switched: PostgreSQL's data would not be read by another one.
enabled_stream() {
  local file=/etc/dnf/modules.d/$1.module
  if grep -qsx 'state *= *enabled' "$file"; then sed -n 's/^stream *= *//p' "$file"; fi
}
stream=$(enabled_stream nginx)
nginx_stream=${stream:-$nginx_stream}
stream=$(enabled_stream postgresql)
postgresql_stream=${stream:-$postgresql_stream}
if [[ -s /var/lib/pgsql/data/PG_VERSION ]]; then postgresql_stream=$(cat /var/lib/pgsql/data/PG_VERSION); fi

if [[ -e /proc/net/if_inet6 ]]; then ipv6=true; else ipv6=false; fi

# Two stacks that keep one machine would undo each other's work for ever.
owner=$(cat "$STATE/stack" 2>/dev/null || true)
[[ -z $owner || $owner == "$STACK" ]] ||
  fail "this machine is kept by the stack $owner already, and two stacks must not share one: set host.address to another machine, or, when that stack is gone for good, remove $STATE/stack on this one"
install -d -m 0755 "$STATE"
printf '%s\n' "$STACK" >"$STATE/stack"

mkdir -p "$LIBEXEC"
printf '%s\n' "$INSTALL_FILE" >"$LIBEXEC/.install-file.new"
chmod 0755 "$LIBEXEC/.install-file.new"
mv -f "$LIBEXEC/.install-file.new" "$LIBEXEC/install-file"

printf '{"os":"%s","release":"%s","architecture":"%s","selinux":%s,"python":"%s","pythonPackage":"%s","postgresqlStream":"%s","nginxStream":"%s","ipv6":%s}\n' \
  "$ID" "$VERSION_ID" "$architecture" "$selinux" "$python" "$python_package" "$postgresql_stream" "$nginx_stream" "$ipv6"
