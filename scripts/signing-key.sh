#!/usr/bin/env bash
# The key that other servers know this one by. Made once, here, and never shown.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${SERVER_NAME:?}" "${FOLDER:?}" "${USER_NAME:?}"

key=$FOLDER/$SERVER_NAME.signing.key

for other in "$FOLDER"/*.signing.key; do
  [[ -e $other && $other != "$key" ]] || continue
  name=$(basename "$other" .signing.key)
  fail "this machine already is the homeserver $name, and a homeserver cannot change its name: set serverName to $name, or use another machine for $SERVER_NAME (to give up $name for good, move $other away first)"
done

[[ -s $key ]] || lost "$key" "the signing key is missing"
[[ -s $key ]] || {
  say "making the signing key of $SERVER_NAME"
  # Four letters tell this key from a later one; 32 random bytes are an ed25519 seed.
  version=$(od -An -N4 -tu1 /dev/urandom | awk '{ for (i = 1; i <= 4; i++) printf "%c", 97 + $i % 26 }')
  write_as "$USER_NAME" 0600 "$key" <<<"ed25519 a_$version $(openssl rand -base64 32 | tr -d '=')"
}
protect() {
  chown -h "$USER_NAME:$USER_NAME" "$key"
  # By the account itself, which could put a link in its place.
  runuser -u "$USER_NAME" -- chmod 0600 "$key"
}
how=$(attributes "$key" "$USER_NAME:$USER_NAME" 0600)
[[ -z $how ]] || change file "$key" "$how" protect
