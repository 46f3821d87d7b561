#!/usr/bin/env bash
# Notes on the machine whose it is, and puts the program there that RemoteFile calls.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${STACK:?project/stack}" "${STATE:?folder for what the program has to remember of the machine}"
: "${LIBEXEC:?}" "${INSTALL_FILE:?the text of that program}"

note() {
  install -d -m 0755 "$STATE"
  printf '%s\n' "$STACK" >"$STATE/stack"
}
[[ $(cat "$STATE/stack" 2>/dev/null) == "$STACK" ]] || change file "$STATE/stack" "it does not say that the machine is kept by $STACK" note

program=$LIBEXEC/install-file
put_program() {
  install -d -m 0755 "$LIBEXEC"
  printf '%s' "$INSTALL_FILE" >"$LIBEXEC/.install-file.new"
  chmod 0755 "$LIBEXEC/.install-file.new"
  mv -fT "$LIBEXEC/.install-file.new" "$program"
}
is_whole() { cmp -s <(printf '%s' "$INSTALL_FILE") "$program" && [[ -z $(attributes "$program" root:root 0755) ]]; }
is_whole ||
  change file "$program" "it is not this program's own any more" put_program
