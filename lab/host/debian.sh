#!/usr/bin/env bash
# Debian's archives, as this machine reaches them. To be sourced.

# debian_sources SUITE: the machine's own sources of Debian, whichever mirror it uses, for another release of Debian when
# that is asked for; nothing on a machine that is not Debian 12.
debian_sources() {
  # shellcheck disable=SC2016 # the dollars are apt's
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    grep -E ' bookworm(-[a-z]+)? ' | sed "s/ bookworm/ $1/" | LC_ALL=C sort -u || true
}

# debian_name SUITE
debian_name() {
  case $1 in
    bullseye) echo "Debian 11" ;;
    *) echo "Debian 12" ;;
  esac
}
