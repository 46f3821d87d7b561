#!/usr/bin/env bash
# Prints the folder of the lab's dnf repository, which is built when it is not in the cache: packages with EL8's names,
# paths, module streams and groups, made from Debian 12's binaries.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$here/../lib.sh"

# The name of the repository in the cache: everything that is in the packages or says how they are made.
inputs_hash() {
  local inputs=() path
  while IFS= read -r path; do
    inputs+=("path $path -> $(readlink "$here/$path" || true)" "$here/$path")
  done < <(cd "$here" && find build.sh unpack.sh macros wrap.spec packages.txt comps.xml specs modules files \( -type f -o -type l \) | LC_ALL=C sort)
  hash_inputs "${inputs[@]}"
}

check_machine() {
  [ "$(uname -m)" = x86_64 ] || die "the lab's packages exist for x86_64 only, and this machine is $(uname -m)."
  command -v apt-get >/dev/null ||
    die "the lab's packages are made from Debian 12's, and this machine has no apt-get: use a Debian 12 machine."
}

# The rows of packages.txt, columns separated by | alone.
rows() {
  sed -e '/^ *\(#\|$\)/d' -e 's/ *| */|/g' -e 's/ *$//' "$here/packages.txt"
}

# download FOLDER: all Debian packages into FOLDER, each in a folder with its name.
download() {
  local all package file
  mapfile -t all < <(rows | cut -d'|' -f2 | tr ' ' '\n' | sed '/^$/d' | LC_ALL=C sort -u)
  mkdir "$1"
  say "downloading ${#all[@]} Debian packages..."
  # As root apt would want a folder that its own user may write to.
  local get=(apt-get -qq -o APT::Sandbox::User=root download)
  if ! (cd "$1" && "${get[@]}" "${all[@]}" 2>/dev/null); then
    # Most likely the machine's package lists are missing, or older than the archive.
    if [ "$(id -u)" = 0 ]; then
      say "refreshing the machine's package lists..."
      apt-get -qq update
    fi
    (cd "$1" && "${get[@]}" "${all[@]}") ||
      die "apt-get could not download Debian 12's packages (see above): check that this is Debian 12 and 'apt-get update' works."
  fi
  for package in "${all[@]}"; do
    mkdir "$1/$package"
    for file in "$1/${package}"_*.deb; do
      mv "$file" "$1/$package/"
    done
  done
}

# The upstream version of a Debian package: without epoch, Debian's revision, and what Debian says about its source.
upstream_version() {
  local version
  version=$(dpkg-deb --field "$1" Version)
  version=${version#*:}
  version=${version%-*}
  version=${version%%[+~]*}
  printf '%s\n' "${version%.dfsg}"
}

# build_package WORK REPOSITORY NAME DEBS REQUIRES PROVIDES SUMMARY
build_package() {
  local work=$1 repository=$2 name=$3 debs=$4 requires=$5 provides=$6 summary=$7 version=1 deb spec
  local input=$work/input/$name order=10
  mkdir "$work/rpmbuild"
  for deb in $debs; do
    mkdir -p "$input"
    ln "$work/debs/$deb"/*.deb "$input/$order-$deb.deb"
    ((order += 1))
  done
  if [ -n "$debs" ]; then
    version=$(upstream_version "$input"/10-*.deb)
  fi
  spec=$here/specs/$name.spec
  [ -f "$spec" ] || spec=$here/wrap.spec

  local defines=(
    "_topdir $work/rpmbuild" "_tmppath $work" "_dbpath $work/rpmdb" "_rpmdir $repository/Packages"
    "lab_source $here" "lab_debs $input" "lab_files $here/files/$name"
    "lab_name $name" "lab_version $version"
  )
  # rpm refuses a macro without a value.
  [ -z "$summary" ] || defines+=("lab_summary $summary")
  [ -z "$requires" ] || defines+=("lab_requires $requires")
  [ -z "$provides" ] || defines+=("lab_provides $provides")
  local options=() define
  for define in "${defines[@]}"; do
    options+=(--define "$define")
  done
  rpmbuild -bb --quiet --load "$here/macros" "${options[@]}" "$spec" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "the package $name could not be built (see above)."
  }
  rm -rf "$work/rpmbuild" "$input"
}

# The module metadata; its last line is completed with the packages that say to belong to the module.
add_modules() {
  local work=$1 repository=$2 module name label nevra
  rpm -qp --dbpath "$work/rpmdb" --qf '%{modularitylabel} %{name}-0:%{version}-%{release}.%{arch}\n' "$repository"/Packages/*.rpm >"$work/labels"
  for module in "$here"/modules/*.yaml; do
    name=${module##*/}
    name=${name%.yaml}
    cat "$module"
    while read -r label nevra; do
      [ "${label%%:*}" != "$name" ] || printf '      - %s\n' "$nevra"
    done <"$work/labels"
  done >"$work/modules.yaml"
  modifyrepo_c --mdtype=modules "$work/modules.yaml" "$repository/repodata" >/dev/null
}

build() {
  local repository=$1 work=$1/.work number=0 total started=$SECONDS name debs requires provides summary
  check_machine
  need_tools rpmbuild=rpm createrepo_c=createrepo-c modifyrepo_c=createrepo-c
  mkdir -p "$work" "$repository/Packages"
  download "$work/debs"
  total=$(rows | wc -l)
  say "building the $total packages of the lab's dnf repository (about half a minute, once)..."
  while IFS='|' read -r name debs requires provides summary; do
    build_package "$work" "$repository" "$name" "$debs" "$requires" "$provides" "$summary"
    ((number += 1))
    ((number % 20)) || say "built $number of $total packages"
  done < <(rows)
  createrepo_c --quiet --no-database --groupfile "$here/comps.xml" "$repository" >/dev/null
  add_modules "$work" "$repository"
  rm -rf "$work"
  say "the dnf repository is ready ($((SECONDS - started)) s)"
}

key=$(inputs_hash)
path=$(cached rpms "$key" build)
printf '%s\n' "$path"
