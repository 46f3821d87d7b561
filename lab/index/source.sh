#!/usr/bin/env bash
# source.sh VERSION: prints a folder with docs/ of Synapse's source archive, which is checked against the release's lock.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

version=${1:?VERSION is missing}
lock=$(lab_root)/requirements/synapse-$version.source.txt
readonly version lock

build() {
  local archive=$1/archive.tar.gz sum
  say "downloading the source archive of Synapse $version (4 MB, once)..."
  python3 -I "$(lab_root)/lab/index/source.py" "$(index_url)" "$version" >"$archive"
  sum=$(sha256sum "$archive" | cut -d ' ' -f 1)
  sed -n '/^matrix-synapse==/,/^[^ ]*$/p' "$lock" | grep "sha256:$sum" >/dev/null ||
    die "the source archive of Synapse $version is not the one that $lock names."
  tar --extract --file="$archive" --directory="$1" --strip-components=1 --no-same-owner --wildcards '*/docs/*.md'
  rm "$archive"
}

# As pip has it.
index_url() {
  printf '%s\n' "${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || printf 'https://pypi.org/simple')}"
}

[ -f "$lock" ] || die "there is no $lock; make it with: make lock VERSION=$version"
path=$(cached synapse-source "$(hash_inputs "$lock" "$(lab_root)/lab/index/source.sh")" build)
printf '%s\n' "$path"
