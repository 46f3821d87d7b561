#!/usr/bin/env bash
# Prints the folder of pebble, an ACME server made for tests, with its little name server: from Debian's package, which is
# not installed but unpacked into the cache.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

unpack() {
  local output
  need_tools dpkg-deb=dpkg
  say "fetching pebble, an ACME server for tests..."
  output=$(cd "$1" && { apt_download pebble || { apt-get -qq update && apt_download pebble; }; } 2>&1) || {
    printf '%s\n' "$output" | tail -n 5 >&2
    die "apt-get could not download Debian's package pebble (see above)."
  }
  dpkg-deb --extract "$1"/pebble_*.deb "$1"
  rm "$1"/pebble_*.deb
}

apt_download() {
  apt-get -qq -o APT::Sandbox::User=root download "$@"
}

folder=$(cached pebble "$(hash_inputs 1 "$(uname -m)")" unpack)
printf '%s\n' "$folder/usr/bin"
