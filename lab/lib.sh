#!/usr/bin/env bash
# What the lab's scripts share. To be sourced: . "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The root of the repository, wherever a script was called from.
lab_root() {
  (cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
}

# What belongs to this checkout alone; git ignores it.
lab_dir() {
  printf '%s/.lab\n' "$(lab_root)"
}

# What is slow to make, shared by all checkouts of a user.
cache_dir() {
  printf '%s\n' "${MATRIX_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/matrix-homeserver-lab}"
}

# Progress goes to stderr, so that a script's stdout is its answer alone.
say() {
  printf 'lab: %s\n' "$*" >&2
}

die() {
  printf 'lab: %s\n' "$*" >&2
  exit 1
}

# need_tools PROGRAM=PACKAGE...: installs what is missing from Debian's packages, or says what to install.
need_tools() {
  local entry missing=() output
  for entry in "$@"; do
    command -v "${entry%%=*}" >/dev/null || missing+=("${entry#*=}")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "programs are missing here; install the equivalents of Debian's packages: ${missing[*]}."
  fi
  say "installing ${missing[*]}..."
  output=$(apt_install "${missing[@]}" 2>&1) || {
    printf '%s\n' "$output" | tail -n 20 >&2
    die "apt-get could not install ${missing[*]} (see above)."
  }
}

# A fresh machine may have no package lists, or old ones.
apt_install() {
  local apt=(apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" install --no-install-recommends "$@" ||
    { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; }
}

# hash_inputs FILE...|STRING: a short name for what something is made from. Files count by their content and not by
# their path, so that every checkout gets the same name.
hash_inputs() {
  local input
  for input in "$@"; do
    if [ -f "$input" ]; then
      printf 'file %s\n' "$(sha256sum <"$input")"
    else
      printf 'text %s\n' "$(printf '%s' "$input" | sha256sum)"
    fi
  done | sha256sum | cut -c 1-16
}

# cached THING KEY BUILDER: prints the path of a folder in the cache. When it is not there, BUILDER is called with an
# empty folder to fill; that is renamed when BUILDER succeeded, so that a cut-off build is never taken for a whole one.
# BUILDER's stdout goes to stderr. Call it as a statement of its own, path=$(cached ...), never in a condition: there
# bash ignores `set -e`, and BUILDER would run on after an error.
cached() (
  thing=$1 builder=$3
  root=$(cache_dir)
  target=$root/$thing-$2
  if [ ! -d "$target" ]; then
    set +e
    ignored=$(
      set -e
      false
      echo yes
    )
    set -e
    if [ -n "$ignored" ]; then
      die "cached was called in a condition; call it as a statement: path=\$(cached $thing ...)."
    fi
    mkdir -p "$root"
    exec 9>"$root/$thing.lock"
    if ! flock --nonblock 9; then
      say "waiting for another process that is making $thing..."
      flock 9
    fi
    if [ ! -d "$target" ]; then
      # Under the lock, a partial folder can only be what a killed build left.
      remove_partial "$target"
      trap 'remove_partial "$target"' EXIT
      trap 'exit 130' INT
      trap 'exit 143' TERM
      trap 'exit 129' HUP
      mkdir "$target.partial"
      # The lock is not for the builder's children: a daemon among them would hold it for ever.
      "$builder" "$target.partial" 9>&- >&2
      mv -T "$target.partial" "$target"
    fi
  fi
  printf '%s\n' "$target"
)

# Never into a file system that a cut-off build left mounted there. Some tools make what they write read-only.
remove_partial() {
  if [ -d "$1.partial" ]; then
    find "$1.partial" -xdev -type d ! -perm -u+w -exec chmod u+w {} +
    rm -rf --one-file-system "$1.partial"
  fi
}
