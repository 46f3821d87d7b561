#!/usr/bin/env bash
# The systems whose shape a lab host can have: flavours/NAME holds the files that make the difference. To be sourced.

flavours() {
  ls "$(lab_root)/lab/host/flavours"
}

# The Debian release whose programs a flavour has. Flavours of one release share a root file system and packages.
suite_of() {
  case $1 in
    centos-8.5) echo bullseye ;;
    *) echo bookworm ;;
  esac
}

# The releases of Synapse that a flavour's index has, a line each: by which what such a system cannot run is not there by
# chance. None: the newest. LAB_SYNAPSE names others, for hosts that have to change from one to another.
synapse_of() {
  local releases=()
  case $1 in
    centos-8.5) releases=(1.141.0) ;;
  esac
  if [ -n "${LAB_SYNAPSE:-}" ]; then read -r -a releases <<<"$LAB_SYNAPSE"; fi
  [ "${#releases[@]}" = 0 ] || printf '%s\n' "${releases[@]}"
}

# put_flavour NAME FOLDER: lays the flavour's files over an empty folder that becomes the upper layer of a host's disk. Not
# with the owners and modes of a checkout, for the folders in it are the host's own.
put_flavour() {
  tar -C "$(lab_root)/lab/host/flavours/$1" --owner=0 --group=0 --mode=u=rwX,go=rX -c . | tar -C "$2" --no-same-owner --preserve-permissions -x
}
