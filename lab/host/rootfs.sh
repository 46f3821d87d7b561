#!/usr/bin/env bash
# Prints the folder of a lab host's root file system, which is made when the cache does not hold it: Debian 12's packages
# in the shape of EL 8.9, or, with LAB_ROOTFS=FILE, what the user's own tar archive holds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$here/../lib.sh"

readonly base_libraries=$here/../rpms/base-libraries.txt

main() {
  local key path
  [ "$(id -u)" = 0 ] || die "a lab host's root file system can only be made by root."
  if [ -n "${LAB_ROOTFS:-}" ]; then
    [ -f "$LAB_ROOTFS" ] || die "LAB_ROOTFS names $LAB_ROOTFS, which is no file: give the tar archive of a root file system."
    key=$(hash_inputs "$LAB_ROOTFS" "$(own_rootfs_version)")
    path=$(cached rootfs-own "$key" unpack)
  else
    key=$(inputs_hash)
    path=$(cached rootfs "$key" build)
  fi
  printf '%s/tree\n' "$path"
}

# Everything that is in the tree or says how it is made. Debian's updates do not count: a new name takes them in.
inputs_hash() {
  local inputs=() path
  while IFS= read -r path; do
    inputs+=("path $path" "$here/$path")
  done < <(cd "$here" && find files -type f | LC_ALL=C sort)
  hash_inputs "$here/rootfs.sh" "$here/shape.sh" "$here/packages.txt" "$base_libraries" "${inputs[@]}" "$(uname -m)"
}

# To be raised when unpacking changes.
own_rootfs_version() {
  echo 1
}

# The words of package lists: comments and empty lines away.
package_names() {
  sed -e 's/#.*//' -e '/^ *$/d' "$@"
}

# The machine's own Debian sources, whichever mirror it uses; nothing on a machine that is not Debian 12.
machine_sources() {
  # shellcheck disable=SC2016 # the dollars are apt's
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 2>/dev/null | grep -E ' bookworm(-[a-z]+)? ' | LC_ALL=C sort -u || true
}

# Its variable is not called target: cached has one of that name, which its clean-up reads from in here.
build() {
  local folder=$1 started=$SECONDS packages sources=()
  packages=$(package_names "$here/packages.txt" "$base_libraries" | paste -sd ,)
  machine_sources >"$folder/sources"
  if [ ! -s "$folder/sources" ] && command -v apt-get >/dev/null; then
    # Which sources are Debian's is in the package lists, and a fresh machine may have none yet.
    say "refreshing the machine's package lists..."
    apt-get -qq update || true
    machine_sources >"$folder/sources"
  fi
  # How the machine reaches its mirror (a proxy, for example) is how the tree's packages are fetched, too. It may have a
  # password in it.
  install -m 600 /dev/null "$folder/apt.conf"
  apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Retries|Check-Valid-Until)' >"$folder/apt.conf" || true
  # Without sources of the machine's, mmdebstrap takes Debian's own.
  [ ! -s "$folder/sources" ] || sources=("$folder/sources")
  say "building the lab host's root file system from Debian 12's packages (about a minute, once)..."
  # A mount namespace of its own: whatever ends the build, no mount is left behind.
  unshare --mount mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
    --aptopt="$folder/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    bookworm "$folder/tree" "${sources[@]}" ||
    die "the root file system could not be built (see above): check that 'apt-get update' works on this machine."
  "$here/shape.sh" "$folder/tree"
  rm "$folder/sources" "$folder/apt.conf"
  say "the root file system is ready ($((SECONDS - started)) s)"
}

unpack() {
  local missing
  say "unpacking $LAB_ROOTFS (once)..."
  mkdir "$1/tree"
  tar --extract --numeric-owner --xattrs --xattrs-include='*' --directory "$1/tree" --file "$LAB_ROOTFS" ||
    die "$LAB_ROOTFS could not be unpacked (see above): it must be a tar archive, compressed or not."
  missing=$(missing_programs "$1/tree")
  [ -z "$missing" ] ||
    die "the root file system in $LAB_ROOTFS has no $missing: install that in it first (an image's archive must be the exported file system, not the saved image)."
}

# What a lab host cannot do without, of the things that images for containers leave out.
missing_programs() {
  local program missing=()
  for program in usr/lib/systemd/systemd usr/sbin/sshd usr/bin/cloud-init usr/bin/sudo usr/sbin/ip; do
    [ -e "$1/$program" ] || missing+=("${program##*/}")
  done
  (IFS=,; printf '%s\n' "${missing[*]}" | sed 's/,/, /g')
}

main
