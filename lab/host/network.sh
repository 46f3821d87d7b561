#!/usr/bin/env bash
# The bridge that all lab hosts are on, and the server on the machine's side of it. It leads nowhere: no forwarding, no
# way out. To be sourced; all functions want lock_machine.

# shellcheck source-path=SCRIPTDIR source=names.sh
. "$(dirname "${BASH_SOURCE[0]}")/names.sh"

network_up() {
  if ! ip link show "$bridge" >/dev/null 2>&1; then
    ip link add "$bridge" type bridge ||
      die "this machine's kernel could not make a network bridge (see above): it needs bridge and veth."
  fi
  ip address replace "$machine_address/24" dev "$bridge"
  ip link set "$bridge" up
  server_up
}

server_up() {
  local here
  here=$(dirname "${BASH_SOURCE[0]}")
  if cgroup_is_populated .server; then return 0; fi
  (
    cgroup_join .server
    exec setsid python3 -I "$here/serve.py" "$machine_address" "$port" "$runtime/www"
  ) </dev/null >"$runtime/server.log" 2>&1 7>&- 8>&- &
  disown "$!"
  for _ in {1..100}; do
    if (: <"/dev/tcp/$machine_address/$port") 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  die "the lab's package server on $machine_address:$port did not start: $(tail -n 1 "$runtime/server.log")"
}

# publish ADDRESS FOLDER...: what a host gets to see: the entries of all the folders.
publish() {
  local www=$runtime/www/$1 source entry
  shift
  rm -rf "$www.new"
  mkdir -p "$www.new"
  for source in "$@"; do
    for entry in "$source"/*; do ln -s "$entry" "$www.new/"; done
  done
  rm -rf "$www"
  mv "$www.new" "$www"
}

# When no host is registered any more, what they shared goes.
network_down_if_unused() {
  if compgen -G "$runtime/*.json" >/dev/null; then return 0; fi
  cgroup_kill .server
  if ip link show "$bridge" >/dev/null 2>&1; then ip link delete "$bridge"; fi
  rm -rf "$runtime/www" "$runtime/server.log"
  rm -f "$runtime/lock"
  rmdir --ignore-fail-on-non-empty "$runtime"
}
