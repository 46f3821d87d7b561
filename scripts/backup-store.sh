#!/usr/bin/env bash
# The S3 store that backups are copied to. put FILE copies one there and lets the oldest go; list names those that are there;
# get URL writes one to standard output; check CONFIGURATION STORE asks a store whether it lets in who has that configuration.
set -euo pipefail
: "${CLIENT:?}" "${CONFIGURATION:?of s3cmd, with the credentials}" "${STORE:?s3://BUCKET/ or s3://BUCKET/PREFIX/}" "${SERVER_NAME:?}"
: "${KEEP:?how many are kept there; 0: nothing is removed}"

export HOME=/root
s3cmd() { "$CLIENT" --config="$CONFIGURATION" --no-progress "$@"; }
# What went wrong, in the store's own words.
problem() {
  # What a last attempt failed for is said before that it was the last.
  { grep -E '^(ERROR|WARNING: Retrying)' "$said" | grep -v 'too many times' || cat "$said"; } | tail -n 1 | sed -E 's/^(ERROR|WARNING): //; s/\.$//'
}

said=$(mktemp /run/matrix-homeserver.XXXXXX)
trap 'rm -f "$said"' EXIT

# The backups there, newest first: bytes and URL.
list() {
  s3cmd ls "$STORE$SERVER_NAME-" >"$said.list" 2>"$said" || {
    rm -f "$said.list"
    return 1
  }
  # Another homeserver in the same bucket may have a longer name that begins like this one's.
  awk -v begin="$STORE$SERVER_NAME-" 'index($4, begin) == 1 && substr($4, length(begin) + 1) ~ /^[0-9]+T[0-9]+Z\.tar\.gpg$/ { print $3, $4 }' "$said.list" | sort -rk2
  rm -f "$said.list"
}
refused() { fail "the store ${STORE} does not answer as it should ($(problem)): check backup.s3"; }

case ${1:-} in
put)
  name=$(basename "$2")
  s3cmd --multipart-chunk-size-mb=64 put "$2" "$STORE$name" >/dev/null 2>"$said" ||
    fail "it could not be copied to $STORE ($(problem)): check backup.s3"
  there=$(list) || refused
  grep -qxF "$(stat -c %s "$2") $STORE$name" <<<"$there" || fail "it was copied to $STORE, and is not there in its whole size"
  if ((KEEP > 0)); then
    while read -r _ url; do
      s3cmd del "$url" >/dev/null 2>"$said" ||
        fail "it was copied to $STORE, and older ones could not be removed there ($(problem)): let the key do that, or set backup.s3.keep to 0"
    done < <(tail -n "+$((KEEP + 1))" <<<"$there")
  fi
  ;;
list)
  list || refused
  ;;
get)
  [[ ${2:-} == "$STORE"* ]] || fail "${2:-} is not in the store of this machine, which is $STORE"
  s3cmd get "$2" - 2>"$said" || fail "$2 could not be read ($(problem))"
  ;;
check)
  CONFIGURATION=$2 STORE=$3
  s3cmd --max-retries=1 ls "$STORE$SERVER_NAME-" >/dev/null 2>"$said" || refused
  ;;
*) fail "backup-store knows put FILE, list, get URL and check CONFIGURATION STORE" ;;
esac
