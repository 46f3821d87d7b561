#!/usr/bin/env bash
# Which lab hosts run on this machine, of whichever checkout: a file a host in /run/matrix-lab. To be sourced.

# shellcheck source-path=SCRIPTDIR source=names.sh
. "$(dirname "${BASH_SOURCE[0]}")/names.sh"

# take_lock FILE FD: held until FD is closed or the shell ends. The last one to leave removes the file, so that what was
# locked may be a file that is no longer there: then again with the new one.
take_lock() {
  while :; do
    mkdir -p "$runtime"
    if eval "exec $2>>\"\$1\"" 2>/dev/null; then
      if ! flock --nonblock "$2"; then
        [ "$2" = 8 ] || say "waiting for another command that works on this host..."
        flock "$2"
      fi
      if [ "$1" -ef "/proc/self/fd/$2" ]; then return 0; fi
    fi
  done
}

# For a whole command, so that no two commands work on one host.
lock_host() {
  take_lock "$runtime/$1.lock" 7
}

# For what the hosts share: addresses, the bridge, the server. Held for moments.
lock_machine() {
  take_lock "$runtime/lock" 8
}

unlock_machine() {
  exec 8>&-
}

# registered NAME FIELD: of a host that runs, is about to, or was left behind; nothing when there is none.
registered() {
  if [ -f "$runtime/$1.json" ]; then
    jq -r --arg field "$2" '.[$field] // empty' "$runtime/$1.json"
  fi
}

register() {
  local file=$runtime/$1.json
  jq -n --arg name "$1" --arg address "$2" --arg clone "$(lab_root)" --arg pid "${3:-}" \
    '{name: $name, address: $address, clone: $clone, pid: ($pid | tonumber? // null)}' >"$file.new"
  mv "$file.new" "$file"
}

# Refuses a host of another checkout; one whose checkout was deleted belongs to whoever asks.
check_ownership() {
  local clone
  clone=$(registered "$1" clone)
  if [ -n "$clone" ] && [ "$clone" != "$(lab_root)" ] && [ -d "$clone" ]; then
    die "the lab host $1 on this machine belongs to the checkout in $clone: run 'lab/lab.sh down $1' there first, or choose another name."
  fi
}

# claim NAME WISH: registers NAME with an address that no other host of the machine has, and sets $address. Under
# lock_machine.
claim() {
  local wish=$2 number taken
  taken=$(find "$runtime" -name '*.json' ! -name "$1.json" -exec jq -r .address {} +)
  if [ "$1" = dev ]; then
    address=$network.10
  elif [ -n "$wish" ] && ! grep -qxF "$wish" <<<"$taken"; then
    address=$wish
  else
    address=
    for number in {11..99}; do
      if ! grep -qxF "$network.$number" <<<"$taken"; then
        address=$network.$number
        break
      fi
    done
    [ -n "$address" ] || die "all addresses of the lab are taken: end hosts that are no longer needed (lab/lab.sh list)."
  fi
  register "$1" "$address"
}
