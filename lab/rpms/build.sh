#!/usr/bin/env bash
# build.sh [SUITE]: prints the folder of the lab's dnf repository for hosts with the programs of that Debian release (bookworm,
# when none is named), which is built when it is not in the cache: packages with EL8's names, paths, module streams and
# groups, made from Debian's binaries.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../lib.sh"
  . "$here/../host/debian.sh"
}

readonly suite=${1:-bookworm}

# The name of the repository in the cache: everything that is in the packages or says how they are made.
inputs_hash() {
  local inputs=() path
  while IFS= read -r path; do
    inputs+=("path $path -> $(readlink "$here/$path" || true)" "$here/$path")
  done < <(cd "$here" && find build.sh unpack.sh macros wrap.spec specs modules files "$suite" \( -type f -o -type l \) | LC_ALL=C sort)
  hash_inputs "${inputs[@]}"
}

check_machine() {
  [ "$(uname -m)" = x86_64 ] || die "the lab's packages exist for x86_64 only, and this machine is $(uname -m)."
  command -v apt-get >/dev/null ||
    die "the lab's packages are made from Debian's, and this machine has no apt-get: use a Debian 12 machine."
}

# The rows of packages.txt, columns separated by | alone.
rows() {
  sed -e '/^ *\(#\|$\)/d' -e 's/ *| */|/g' -e 's/ *$//' "$here/$suite/packages.txt"
}

# stream_of NAME: the stream of a row's package; nothing for a package that is of no module. Where a module has several, the row
# says whose it is.
stream_of() {
  case $1 in
    *:*) printf '%s\n' "${1#*:}" ;;
    *) sed -n "s/^$1 //p" "$here/$suite/streams.txt" | head -n 1 ;;
  esac
}

# The Debian packages of the rows, as they have them: NAME, or NAME/SUITE for one of another release.
debs() {
  rows | cut -d'|' -f2 | tr ' ' '\n' | sed '/^$/d' | LC_ALL=C sort -u
}

# download FOLDER: all Debian packages into FOLDER, each in a folder with its name as the rows have it.
download() {
  local others other
  mkdir "$1"
  fetch "$suite" "$1" < <(debs | grep -v /)
  mapfile -t others < <(debs | sed -n 's|.*/||p' | LC_ALL=C sort -u)
  for other in "${others[@]}"; do
    fetch "$other" "$1" "/$other" < <(debs | sed -n "s|/$other\$||p")
  done
}

# fetch SUITE FOLDER [SUFFIX]: the packages of standard input, each into a folder with its name and the suffix.
fetch() {
  local from=$1 folder=$2 suffix=${3-} all package file
  mapfile -t all
  say "downloading ${#all[@]} packages of $(debian_name "$from")..."
  # As root apt would want a folder that its own user may write to.
  local apt=(apt-get -qq -o APT::Sandbox::User=root)
  [ "$from" = bookworm ] || foreign_lists "$folder.apt" "$from"
  if ! (cd "$folder" && "${apt[@]}" download "${all[@]}" 2>/dev/null); then
    # Most likely the machine's package lists are missing, or older than the archive.
    if [ "$(id -u)" = 0 ]; then
      say "refreshing the machine's package lists..."
      "${apt[@]}" update
    fi
    (cd "$folder" && "${apt[@]}" download "${all[@]}") ||
      die "apt-get could not download $(debian_name "$from")'s packages (see above): check that this is Debian 12 and 'apt-get update' works."
  fi
  for package in "${all[@]}"; do
    mkdir -p "$folder/$package$suffix"
    for file in "$folder/${package}"_*.deb; do
      mv "$file" "$folder/$package$suffix/"
    done
  done
}

# foreign_lists FOLDER SUITE: makes apt use package lists of a release that is not the machine's, kept in FOLDER.
foreign_lists() {
  mkdir -p "$1/lists/partial" "$1/cache"
  debian_sources "$2" >"$1/sources.list"
  [ -s "$1/sources.list" ] ||
    die "this machine's package lists name no mirror of Debian 12, by which $(debian_name "$2")'s would be found: check 'apt-get update'."
  apt+=(
    -o "Dir::Etc::SourceList=$1/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$1/lists"
    -o "Dir::Cache=$1/cache"
    # What is installed here is newer, and would be taken for the better choice.
    -o Dir::State::Status=/dev/null
    # The lists of a release that gets no more updates are never renewed.
    -o Acquire::Check-Valid-Until=false
  )
  "${apt[@]}" update ||
    die "apt-get could not fetch the package lists of $(debian_name "$2") (see above): check that this machine's mirror has that release."
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

# build_package WORK REPOSITORY NAME[:STREAM] DEBS REQUIRES PROVIDES SUMMARY
build_package() {
  local work=$1 repository=$2 name=${3%%:*} debs=$4 requires=$5 provides=$6 summary=$7 version=1 deb spec specs stream
  local input=$work/input/$name order=10
  mkdir "$work/rpmbuild"
  for deb in $debs; do
    mkdir -p "$input"
    ln "$work/debs/$deb"/*.deb "$input/$order-${deb%%/*}.deb"
    ((order += 1))
  done
  if [ -n "$debs" ]; then
    version=$(upstream_version "$input"/10-*.deb)
  fi
  spec=$here/wrap.spec
  for specs in "$here/specs" "$here/$suite/specs"; do
    [ ! -f "$specs/$name.spec" ] || spec=$specs/$name.spec
  done

  local defines=(
    "_topdir $work/rpmbuild" "_tmppath $work" "_dbpath $work/rpmdb" "_rpmdir $repository/Packages"
    "lab_source $here" "lab_debs $input" "lab_files $here/files/$name"
    "lab_name $name" "lab_version $version"
  )
  stream=$(stream_of "$3")
  # rpm refuses a macro without a value.
  [ -z "$stream" ] || defines+=("lab_stream $stream")
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
  local work=$1 repository=$2 name stream label nevra
  rpm -qp --dbpath "$work/rpmdb" --qf '%{modularitylabel} %{name}-0:%{version}-%{release}.%{arch}\n' "$repository"/Packages/*.rpm >"$work/labels"
  while read -r name stream; do
    sed "s/@STREAM@/$stream/" "$here/modules/$name.yaml"
    while read -r label nevra; do
      [[ $label != "$name:$stream":* ]] || printf '      - %s\n' "$nevra"
    done <"$work/labels"
  done < <(sed '/^#/d' "$here/$suite/streams.txt") >"$work/modules.yaml"
  modifyrepo_c --mdtype=modules "$work/modules.yaml" "$repository/repodata" >/dev/null
}

build() {
  local repository=$1/el8 work=$1/.work groups=() number=0 total started=$SECONDS name debs requires provides summary
  check_machine
  need_tools rpmbuild=rpm createrepo_c=createrepo-c modifyrepo_c=createrepo-c
  mkdir -p "$work" "$repository/Packages"
  download "$work/debs"
  total=$(rows | wc -l)
  say "building the $total packages of the lab's dnf repository from $(debian_name "$suite")'s (about half a minute, once)..."
  while IFS='|' read -r name debs requires provides summary; do
    build_package "$work" "$repository" "$name" "$debs" "$requires" "$provides" "$summary"
    ((number += 1))
    ((number % 20)) || say "built $number of $total packages"
  done < <(rows)
  [ ! -f "$here/$suite/comps.xml" ] || groups=(--groupfile "$here/$suite/comps.xml")
  createrepo_c --quiet --no-database "${groups[@]}" "$repository" >/dev/null
  add_modules "$work" "$repository"
  if [ "$suite" = bullseye ]; then lay_out_vault "$1"; fi
  rm -rf "$work"
  say "the dnf repository is ready ($((SECONDS - started)) s)"
}

# lay_out_vault FOLDER: the repository as CentOS's vault has it. What EL8 has in BaseOS is in the hosts' base here.
lay_out_vault() {
  local release=$1/vault/centos/8 name
  for name in BaseOS extras; do
    mkdir -p "$release/$name/x86_64/os"
    createrepo_c --quiet --no-database "$release/$name/x86_64/os" >/dev/null
  done
  mkdir -p "$release/AppStream/x86_64"
  mv "$1/el8" "$release/AppStream/x86_64/os"
}

key=$(inputs_hash)
path=$(cached "rpms-$suite" "$key" build)
printf '%s\n' "$path"
