#!/usr/bin/env bash
# Looks at the machine before anything is changed on it, refuses what cannot work, and answers as JSON: its facts, and what
# scripts/repositories.sh may choose from.
# Nothing of it can differ later.
set -euo pipefail
: "${PLATFORMS:?a line each: family|first release|pythons|postgresql streams|nginx streams|newest Synapse|only in the vault}"
: "${POSTGRESQL_NEEDS:?a line each, newest first: Synapse release|PostgreSQL that it needs|release before that}"
: "${SUPPORTED_SYSTEMS:?as a person reads it}" "${SYNAPSE_VERSION:?}" "${LOCAL_DATABASE:?true or false}"
: "${POSTGRESQL?major version that the stack wants; empty for the one that is there}" "${FREE_MB:?needed on a new machine}" "${UPDATE_FREE_MB:?on one that this stack keeps already}"
: "${STACK:?project/stack}" "${STATE:?folder for what the program has to remember of the machine}"

# The tests have machines that lie in a folder.
root=${machine_root:-}

# older A B: whether version A is older than B.
older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n1) == "$1" ]]; }

[[ $(id -u) == 0 ]] || fail "the scripts must run as root: log in as root, or as a user with passwordless sudo (host.user)"

# No certificate is valid on a machine without a battery that woke up in 1970.
(($(date +%s) > 1767225600)) ||
  fail "the machine's clock says $(date -u '+%F %T') UTC, and no certificate is valid then: set it ('timedatectl set-ntp true' with chrony installed, or 'date -s'), then run pulumi up again"

# A machine that is still setting itself up holds the dnf lock and may lack the login user's sudo rights.
if command -v cloud-init >/dev/null; then
  say "waiting for cloud-init to finish"
  timeout 300 cloud-init status --wait >/dev/null 2>&1 || say "cloud-init did not finish cleanly; going on (see: cloud-init status --long)"
fi

# shellcheck source=/dev/null
. "$root/etc/os-release"
NAME=${NAME:-$ID}
release=${VERSION_ID:-}
case $ID:$NAME in
centos:*Stream*) family=centos-stream ;;
centos:*)
  family=centos-linux
  # "CentOS Linux release 8.5.2111": os-release has the major number alone.
  minor=$(sed -n "s/^.* release \($VERSION_ID\.[0-9]*\).*/\1/p" "$root/etc/centos-release" 2>/dev/null || true)
  release=${minor:-$VERSION_ID}
  ;;
# RHEL and Oracle Linux call themselves like Fedora only, which others are, too.
almalinux:* | rocky:* | rhel:* | ol:*) family=el ;;
*) [[ " ${ID_LIKE:-} " == *" rhel "* ]] && family=el || family=other ;;
esac
system="$NAME $release"

row=
while IFS='|' read -r row_family from rest; do
  if [[ $row_family == "$family" && ${from%%.*} == "${release%%.*}" ]] && ! older "$release" "$from"; then row=$rest; fi
done <<<"$PLATFORMS"
[[ -n $row ]] ||
  fail "this machine runs $system, where this program cannot run Synapse: update the machine, or use one with $SUPPORTED_SYSTEMS"
IFS='|' read -r pythons postgresql_streams nginx_streams newest_synapse vault_only <<<"$row"

if [[ -n $newest_synapse ]] && older "$newest_synapse" "$SYNAPSE_VERSION"; then
  case $family in
  centos-linux) way_out="move the machine to AlmaLinux, Rocky Linux, RHEL or Oracle Linux, release 8.10 (each has a tool for that)" ;;
  *) way_out="update the machine to release 8.8 or newer ('dnf upgrade')" ;;
  esac
  fail "$system can run Synapse up to $newest_synapse, because newer ones need a newer Python and PostgreSQL than it has, and synapse.version is $SYNAPSE_VERSION: run 'pulumi config set --path synapse.version $newest_synapse', or $way_out"
fi

architecture=$(uname -m)
case $architecture in
x86_64 | aarch64) ;;
*) fail "Synapse has no prebuilt packages for this machine's architecture, $architecture: use an x86_64 or aarch64 machine" ;;
esac

[[ $(cat "$root/proc/1/comm") == systemd ]] || fail "process 1 of this machine is not systemd, so no service can be kept running: use a full machine, not a bare container"

owner=$(cat "$STATE/stack" 2>/dev/null || true)
[[ $owner == "$STACK" ]] && needed_mb=$UPDATE_FREE_MB || needed_mb=$FREE_MB
for folder in /opt /var; do
  read -r free_mb disk < <(df --output=avail,target -BM "$root$folder" | awk 'END { print $1 + 0, $2 }')
  ((free_mb >= needed_mb)) || fail "only $free_mb MB are free for $folder on the file system $disk, and $needed_mb MB are needed: free some space, or give the machine a larger disk, then run pulumi up again"
done

if command -v selinuxenabled >/dev/null && selinuxenabled; then selinux=true; else selinux=false; fi

# A stream that is in use is never switched: PostgreSQL's data would not be read by another one.
enabled_stream() {
  local file=$root/etc/dnf/modules.d/$1.module
  if grep -qsx 'state *= *enabled' "$file"; then sed -n 's/^stream *= *//p' "$file"; fi
}
stream=$(enabled_stream nginx)
nginx_streams=${stream:-$nginx_streams}

# The first row that the wanted Synapse is not older than.
postgresql_need() {
  local since postgresql before
  while IFS='|' read -r since postgresql before; do
    older "$SYNAPSE_VERSION" "$since" && continue
    printf '%s|%s|%s\n' "$since" "$postgresql" "$before"
    break
  done <<<"$POSTGRESQL_NEEDS"
}
refuse_old_postgresql() { # VERSION WHAT WAY_OUT
  local since needed before
  IFS='|' read -r since needed before <<<"$(postgresql_need)"
  [[ -n $needed && $LOCAL_DATABASE == true ]] && older "$1" "$needed" || return 0
  fail "$2 on this machine, and Synapse $SYNAPSE_VERSION needs PostgreSQL $needed or newer: set synapse.version to a release before $since${before:+, for example $before}, or $3"
}
cluster=$root/var/lib/pgsql/data/PG_VERSION
stream=$(enabled_stream postgresql)
newest_postgresql=${postgresql_streams%% *}
if [[ -s $cluster ]]; then
  postgresql_streams=$(cat "$cluster")
  refuse_old_postgresql "$postgresql_streams" "PostgreSQL $postgresql_streams has its data in /var/lib/pgsql/data" \
    "upgrade that PostgreSQL first with 'make postgresql-upgrade STACK=${STACK#*/} TO=$newest_postgresql'"
  [[ -z $POSTGRESQL || $POSTGRESQL == "$postgresql_streams" || $LOCAL_DATABASE != true ]] ||
    fail "PostgreSQL $postgresql_streams has its data in /var/lib/pgsql/data on this machine, and host.postgresqlVersion is $POSTGRESQL: run 'make postgresql-upgrade STACK=${STACK#*/} TO=$POSTGRESQL', which takes the data along, or set host.postgresqlVersion to $postgresql_streams"
elif [[ -n $POSTGRESQL ]]; then
  postgresql_streams=$POSTGRESQL
  refuse_old_postgresql "$POSTGRESQL" "host.postgresqlVersion asks for PostgreSQL $POSTGRESQL" "take that setting away"
elif [[ -n $stream ]]; then
  postgresql_streams=$stream
  refuse_old_postgresql "$stream" "the dnf module stream postgresql:$stream is enabled" \
    "run 'dnf module reset postgresql' on the machine, where nothing else needs that stream"
fi

if [[ -e $root/proc/net/if_inet6 ]]; then ipv6=true; else ipv6=false; fi

# Two stacks that keep one machine would undo each other's work for ever.
[[ -z $owner || $owner == "$STACK" ]] ||
  fail "this machine is kept by the stack $owner already, and two stacks must not share one: set host.address to another machine, or, when that stack is gone for good, remove $STATE/stack on this one"

printf '{"os":"%s","release":"%s","architecture":"%s","selinux":%s,"ipv6":%s,"pythons":"%s","postgresqlStreams":"%s","nginxStreams":"%s","vaultOnly":%s}\n' \
  "$ID" "$release" "$architecture" "$selinux" "$ipv6" "$pythons" "$postgresql_streams" "$nginx_streams" "$vault_only"
