#!/usr/bin/env bash
# build.sh [VERSION...]: prints a folder whose simple/ is a package index, to be served as it is, with all that a host
# needs to install these releases of Synapse (the newest that is locked, when none is named), as wheels or from source,
# certbot and s3cmd, and the uv that installs them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
locks=$(lab_root)/requirements
machine=$(uname -m)
readonly here locks machine
# The Pythons that EL8 has and that Synapse runs on, by their newest patch release where none is named. Some requirements are
# others for older ones: 3.9.2 and 3.11.2 are the lab's own (Debian's), and the first of EL 8.5 and 8.8.
readonly pythons=(3.9.2 3.9 3.11.2 3.11 3.12)
# What `buildFromSource` compiles.
readonly compiled=(psycopg2 pillow)

main() {
  local version
  versions=("$@")
  if [ $# -eq 0 ]; then
    versions=("$(newest_lock)")
  fi
  inputs=("$here"/{build.sh,for_python.py,tree.py,tools.txt} "$locks"/{certbot,s3cmd,uv}.txt "$machine")
  for version in "${versions[@]}"; do
    if [ ! -f "$locks/synapse-$version.txt" ]; then
      die "there is no requirements/synapse-$version.txt; make it with: make lock VERSION=$version"
    fi
    inputs+=("$locks/synapse-$version.txt" "$locks/synapse-$version.source.txt")
  done
  cached index "$(hash_inputs "${inputs[@]}")" build
}

newest_lock() {
  find "$locks" -name 'synapse-*.txt' ! -name '*.source.txt' -printf '%f\n' |
    sed 's/^synapse-//; s/\.txt$//' | sort -V | tail -n 1
}

build() {
  local version python
  work=$1
  need_venv
  need_pg_config
  say "downloading the Python packages of Synapse ${versions[*]} for the lab's package index (about 100 MB, once)..."
  mkdir "$work/files"
  python3 -I -m venv "$work/tools"
  pip install --quiet --require-hashes --only-binary :all: --requirement "$here/tools.txt"

  for version in "${versions[@]}"; do
    for python in "${pythons[@]}"; do
      if serves "$version" "$python"; then
        fetch_wheels "$locks/synapse-$version.txt" "$python"
        fetch_wheels "$here/tools.txt" "$python"
        fetch_wheels "$locks/certbot.txt" "$python"
        fetch_wheels "$locks/s3cmd.txt" "$python"
        fetch_wheels "$locks/uv.txt" "$python"
        fetch_sources "$locks/synapse-$version.source.txt" "$python"
      fi
    done
  done

  python "$here/tree.py" "$work/files" "$work/simple"
  rm -rf "$work"/{tools,files,wanted.txt,pg}
}

# Isolated, so that neither the current folder nor the user's Python settings change what is imported.
python() {
  "$work/tools/bin/python" -I "$@"
}

pip() {
  python -m pip "$@"
}

# A lock says in its first line which Python it begins with.
serves() {
  local oldest
  oldest=$(sed -n '1s/.* on Python \([0-9.]*\) and newer.*/\1/p' "$locks/synapse-$1.txt")
  [ "$(printf '%s\n' "$oldest" "$2" | sort -V | head -n 1)" = "$oldest" ]
}

# Conditions on a patch release exclude those with bugs: the newest has none of them.
full_version() {
  case $1 in
    *.*.*) printf '%s\n' "$1" ;;
    *) printf '%s.99\n' "$1" ;;
  esac
}

# fetch_wheels LOCK PYTHON: for EL8's C library, 2.28, and all that is older.
fetch_wheels() {
  local minor
  local -a platforms=()
  for minor in {28..5}; do
    platforms+=(--platform "manylinux_2_${minor}_$machine")
  done
  platforms+=(--platform "manylinux2014_$machine" --platform "manylinux2010_$machine" --platform "manylinux1_$machine")
  python "$here/for_python.py" "$1" "$(full_version "$2")" >"$work/wanted.txt"
  pip download --quiet --dest "$work/files" --no-deps --require-hashes --only-binary :all: \
    --implementation cp --python-version "$(full_version "$2")" "${platforms[@]}" --requirement "$work/wanted.txt"
}

# fetch_sources LOCK PYTHON: without isolation, so that pip builds with the pinned tools alone what it wants to
# know about a source archive.
fetch_sources() {
  python "$here/for_python.py" "$1" "$(full_version "$2")" "${compiled[@]}" >"$work/wanted.txt"
  PATH=$PATH:$work/pg/usr/bin pip download --quiet --dest "$work/files" --no-deps --require-hashes --no-binary :all: \
    --no-build-isolation --requirement "$work/wanted.txt"
}

need_venv() {
  if python3 -I -c 'import ensurepip' 2>/dev/null; then return; fi
  need_tools python3=python3 ensurepip=python3-venv
}

# psycopg2's source archive does not even tell its version without it. It is a script, and one file of its package.
need_pg_config() {
  if command -v pg_config >/dev/null; then return; fi
  mkdir "$work/pg"
  (cd "$work/pg" && apt-get download --quiet=2 -o APT::Sandbox::User=root libpq-dev && dpkg-deb --extract libpq-dev_*.deb .) ||
    die "there is no pg_config here; install libpq-dev, and run this again."
}

main "$@"
