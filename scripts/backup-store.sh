#!/usr/bin/env bash
# The S3 store that backups are copied to. put FILE... copies there what it lacks of them, and lets the oldest go; list names those that
# are there; get URL writes one to standard output; check CONFIGURATION STORE asks a store whether it lets in who has that configuration.
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
  there=$(list) || refused
  # Of all, those that are to be there in the end: what would be removed at once is not copied.
  wanted=$({ awk -F/ '{ print $(NF) }' <<<"$there" && basename -a "${@:2}"; } | sort -ru | awk -v keep="$KEEP" 'NF && (keep == 0 || ++n <= keep)')
  is_there() { grep -qxF "$(stat -c %s "$1") $STORE$(basename "$1")" <<<"$there"; }
  copied=()
  for file in "${@:2}"; do
    name=$(basename "$file")
    if is_there "$file" || ! grep -qxF "$name" <<<"$wanted"; then continue; fi
    s3cmd --multipart-chunk-size-mb=64 put "$file" "$STORE$name" >/dev/null 2>"$said" ||
      fail "$name could not be copied to $STORE ($(problem)): check backup.s3"
    copied+=("$file")
  done
  ((${#copied[@]} == 0)) || there=$(list) || refused
  for file in "${copied[@]}"; do
    is_there "$file" || fail "$(basename "$file") was copied to $STORE, and is not there in its whole size"
  done
  while read -r _ url; do
    [[ -z $url ]] || grep -qxF "$(basename "$url")" <<<"$wanted" || s3cmd del "$url" >/dev/null 2>"$said" ||
      fail "older ones could not be removed from $STORE ($(problem)): let the key do that, or set backup.s3.keep to 0"
  done <<<"$there"
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
*) fail "backup-store knows put FILE..., list, get URL and check CONFIGURATION STORE" ;;
esac
