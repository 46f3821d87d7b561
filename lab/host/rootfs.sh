#!/usr/bin/env bash
# rootfs.sh SUITE: prints the folder of a lab host's root file system, which is made when the cache does not hold it: the
# packages of a Debian release in the shape of EL8, or, with LAB_ROOTFS=FILE, what the user's own tar archive holds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../lib.sh"
  . "$here/debian.sh"
}

readonly suite=${1:-bookworm}
readonly package_lists=("$here/packages.txt" "$here/$suite/packages.txt" "$here/../rpms/$suite/base-libraries.txt")

main() {
  local key path
  [ "$(id -u)" = 0 ] || die "a lab host's root file system can only be made by root."
  if [ -n "${LAB_ROOTFS:-}" ]; then
    [ -f "$LAB_ROOTFS" ] || die "LAB_ROOTFS names $LAB_ROOTFS, which is no file: give the tar archive of a root file system."
    key=$(hash_inputs "$LAB_ROOTFS" "$(own_rootfs_version)")
    path=$(cached rootfs-own "$key" unpack)
  else
    key=$(inputs_hash)
    path=$(cached "rootfs-$suite" "$key" build)
  fi
  printf '%s/tree\n' "$path"
}

# Everything that is in the tree or says how it is made. Debian's updates do not count: a new name takes them in.
inputs_hash() {
  local inputs=() path
  while IFS= read -r path; do
    inputs+=("path $path" "$here/$path")
  done < <(cd "$here" && find files "$suite" -type f | LC_ALL=C sort)
  hash_inputs "$here/rootfs.sh" "$here/shape.sh" "${package_lists[@]}" "${inputs[@]}" "$(uname -m)"
}

# To be raised when unpacking changes.
own_rootfs_version() {
  echo 1
}

# The words of package lists: comments and empty lines away.
package_names() {
  sed -e 's/#.*//' -e '/^ *$/d' "$@"
}

# Its variable is not called target: cached has one of that name, which its clean-up reads from in here.
build() {
  local folder=$1 started=$SECONDS packages sources=() options=()
  packages=$(package_names "${package_lists[@]}" | paste -sd ,)
  debian_sources "$suite" >"$folder/sources"
  if [ ! -s "$folder/sources" ] && command -v apt-get >/dev/null; then
    # Which sources are Debian's is in the package lists, and a fresh machine may have none yet.
    say "refreshing the machine's package lists..."
    apt-get -qq update || true
    debian_sources "$suite" >"$folder/sources"
  fi
  # How the machine reaches its mirror (a proxy, for example) is how the tree's packages are fetched, too. It may have a
  # password in it.
  install -m 600 /dev/null "$folder/apt.conf"
  apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Retries|Check-Valid-Until)' >"$folder/apt.conf" || true
  if [ "$suite" = bullseye ]; then
    # The lists of a release that gets no more updates are never renewed.
    printf 'Acquire::Check-Valid-Until "false";\n' >>"$folder/apt.conf"
    # From Debian 12 on, these are links in any case.
    # shellcheck disable=SC2016 # the dollars are mmdebstrap's
    options+=(--setup-hook='for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done')
  fi
  # Without sources of the machine's, mmdebstrap takes Debian's own.
  [ ! -s "$folder/sources" ] || sources=("$folder/sources")
  say "building the lab host's root file system from $(debian_name "$suite")'s packages (about a minute, once)..."
  # A mount namespace of its own: whatever ends the build, no mount is left behind.
  unshare --mount mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
    --aptopt="$folder/apt.conf" "${options[@]}" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    "$suite" "$folder/tree" "${sources[@]}" ||
    die "the root file system could not be built (see above): check that 'apt-get update' works on this machine."
  "$here/shape.sh" "$folder/tree" "$here/$suite/files"
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
