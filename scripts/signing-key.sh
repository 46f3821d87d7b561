#!/usr/bin/env bash
# The key that other servers know this one by. Made once, here, and never shown.
set -euo pipefail
: "${SERVER_NAME:?}" "${FOLDER:?}" "${USER_NAME:?}"

key=$FOLDER/$SERVER_NAME.signing.key

for other in "$FOLDER"/*.signing.key; do
  [[ -e $other && $other != "$key" ]] || continue
  name=$(basename "$other" .signing.key)
  fail "this machine already is the homeserver $name, and a homeserver cannot change its name: set serverName to $name, or use another machine for $SERVER_NAME (to give up $name for good, move $other away first)"
done

[[ -s $key ]] || {
  say "making the signing key of $SERVER_NAME"
  # Four letters tell this key from a later one; 32 random bytes are an ed25519 seed.
  version=$(od -An -N4 -tu1 /dev/urandom | awk '{ for (i = 1; i <= 4; i++) printf "%c", 97 + $i % 26 }')
  write_as "$USER_NAME" 0600 "$key" <<<"ed25519 a_$version $(openssl rand -base64 32 | tr -d '=')"
}
chown -h "$USER_NAME:$USER_NAME" "$key"
