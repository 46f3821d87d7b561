#!/usr/bin/env bash
# Prints the path of versitygw, an S3 server that keeps its objects in a folder: built from the Go module proxy, and kept in the
# cache.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

module=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/versitygw
readonly module

build() {
  command -v go >/dev/null || die "Go 1.26 or newer is missing, and the S3 server for the tests is built with it: install Go."
  say "building versitygw, an S3 server, from source (about a minute, once)..."
  # In the folder that is removed when the build is cut off.
  mkdir "$1/tmp"
  # The user's flags and workspace are for other modules; without cgo no C compiler is needed.
  (cd "$module" && GOTMPDIR=$1/tmp GOFLAGS='' GOWORK=off CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o "$1/" \
    github.com/versity/versitygw/cmd/versitygw) 2>"$1/build.log" || {
    tail -n 20 "$1/build.log" >&2
    die "the build failed, for the reason above; if Go could not reach its module proxy, set GOPROXY to one that it reaches, and run this again."
  }
  rm -r "$1/tmp" "$1/build.log"
}

folder=$(cached versitygw "$(hash_inputs "$module"/go.{mod,sum} "$(uname -m)")" build)
printf '%s\n' "$folder/versitygw"
