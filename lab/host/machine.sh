#!/usr/bin/env bash
# What the machine must be and have, so that a lab host can boot on it. To be sourced.

# The programs and the Debian packages that bring them.
readonly needed=(
  systemd-nspawn=systemd-container mmdebstrap=mmdebstrap jq=jq ip=iproute2 ssh=openssh-client python3=python3
  unshare=util-linux flock=util-linux
)

require_root() {
  if [ "$(uname -s)" != Linux ]; then
    die "the lab host boots in a Linux container, and this machine runs $(uname -s): use a Linux machine (a virtual one will do)."
  fi
  if [ "$(id -u)" != 0 ]; then
    die "the lab host needs root (it mounts a disk, makes a network bridge and boots systemd): run 'sudo -E env PATH=\"\$PATH\" $*'."
  fi
}

require_tools() {
  need_tools "${needed[@]}"
}
