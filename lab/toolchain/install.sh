#!/usr/bin/env bash
# Gives the lab a Pulumi CLI with its Node.js language host in .lab/toolchain/bin: the user's own when it is new enough,
# else the official release, else one built from the Go module proxy.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# What the lab installs, and the oldest one of the user's own that runs the program.
readonly version=3.259.0 language_version=3.68.0 oldest=3.238.0
# The two modules' go.mod say the same; no older Go reads them.
readonly go_oldest=1.26
# For machines that reach a mirror of the release pages only.
readonly releases=${PULUMI_RELEASES_URL:-https://github.com/pulumi/pulumi/releases/download}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(lab_dir)/toolchain/bin
machine=$(uname -m)
readonly here bin machine

main() {
  local folder release built
  folder=$(own_folder)
  if [ -n "$folder" ]; then
    use "$folder"
    say "using the Pulumi CLI $(version_in "$folder") of this machine, $folder/pulumi"
    return
  fi
  release=$(hash_inputs "$version" "$machine")
  built=$(hash_inputs "$version" "$language_version" "$machine" "$here"/{cli,language-nodejs}/go.{mod,sum})
  if in_cache pulumi-release "$release"; then
    use_release "$release"
  elif in_cache pulumi-built "$built"; then
    use_built "$built"
  elif read_checksums; then
    use_release "$release"
  else
    use_built "$built"
  fi
}

in_cache() {
  [ -d "$(cache_dir)/$1-$2" ]
}

# The first folder of PATH with a pulumi that is new enough and has its language host beside it; nothing when there is
# none. This lab's folder, or another's, may be on PATH: that is no Pulumi of the user's.
own_folder() {
  local folder found
  local -a folders
  IFS=: read -r -a folders <<<"$PATH"
  for folder in "${folders[@]}"; do
    if [[ $folder != /* || $folder == */.lab/toolchain/bin ]]; then continue; fi
    if [ ! -x "$folder/pulumi" ] || [ ! -x "$folder/pulumi-language-nodejs" ]; then continue; fi
    found=$(version_in "$folder")
    if is_at_least "$oldest" "$found"; then
      printf '%s\n' "$folder"
      return
    fi
    say "$folder/pulumi is ${found:-broken}, and the program needs $oldest or newer: the lab takes one of its own"
  done
}

# What the CLI in a folder calls itself, or nothing when it does not run.
version_in() {
  local found
  found=$(PULUMI_SKIP_UPDATE_CHECK=true "$1/pulumi" version 2>/dev/null) || found=
  printf '%s\n' "${found#v}"
}

# is_at_least OLDEST FOUND: a version that ends in -dev or the like counts as the release that it leads to.
is_at_least() {
  [ -n "$2" ] && [ "$(printf '%s\n' "$1" "${2%%-*}" | sort -V | head -n 1)" = "$1" ]
}

# Links and not copies, so that the cache or the user's package manager stays in charge; all to one folder, for the CLI
# warns of a language host that lies elsewhere. Only these names: a provider plugin that lies beside the CLI would take
# precedence over the lab's plugin home.
use() {
  local program
  mkdir -p "$bin"
  for program in pulumi pulumi-language-nodejs pulumi-analyzer-policy pulumi-resource-pulumi-nodejs; do
    if [ -x "$1/$program" ]; then
      ln -sfn "$1/$program" "$bin/$program"
    else
      rm -f "$bin/$program"
    fi
  done
}

archive_name() {
  case $machine in
    x86_64) printf 'pulumi-v%s-linux-x64.tar.gz\n' "$version" ;;
    aarch64) printf 'pulumi-v%s-linux-arm64.tar.gz\n' "$version" ;;
    *) return 1 ;;
  esac
}

# Sets `checksums` to the release's list; fails, and soon, where the release pages cannot be reached. The list lies where
# the archives lie, so that it tells whether those can be fetched.
read_checksums() {
  archive_name >/dev/null && command -v curl >/dev/null &&
    checksums=$(curl --fail --silent --location --connect-timeout 5 --max-time 20 "$releases/v$version/SHA512SUMS") &&
    grep -q "$(archive_name)\$" <<<"$checksums"
}

use_release() {
  local folder
  folder=$(cached pulumi-release "$1" fetch_release)
  use "$folder"
  say "using the official Pulumi CLI $version, downloaded to $folder"
}

fetch_release() {
  local archive expected
  archive=$(archive_name)
  expected=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' <<<"$checksums")
  say "downloading the Pulumi CLI $version..."
  curl --fail --silent --show-error --location --connect-timeout 5 --retry 2 --speed-time 30 --speed-limit 1000 \
    --output "$1/$archive" "$releases/v$version/$archive" ||
    die "the download of $archive broke off; run this again."
  if [ "$(sha512sum <"$1/$archive")" != "$expected  -" ]; then
    die "$archive is not what its publisher's SHA512SUMS says; nothing was installed. Run this again; if it stays so, do not trust this network."
  fi
  tar --extract --gzip --strip-components=1 --no-same-owner --file "$1/$archive" --directory "$1"
  rm "$1/$archive"
}

use_built() {
  local folder
  folder=$(cached pulumi-built "$1" build)
  use "$folder"
  say "using the Pulumi CLI $version with language host $language_version, built from source in $folder"
}

# The language host starts two companions by name; its module carries them as scripts.
build() {
  local module
  require_go
  say "building the Node.js language host $language_version from source (less than a minute, once)..."
  go_build language-nodejs "$1" github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs "$language_version"
  module=$(run_go language-nodejs list -mod=readonly -m -f '{{.Dir}}' github.com/pulumi/pulumi/sdk/v3)
  install -m 755 "$module"/nodejs/dist/pulumi-{analyzer-policy,resource-pulumi-nodejs} "$1"
  say "building the Pulumi CLI $version from source (4 to 10 minutes, once)..."
  go_build cli "$1" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi "$version"
}

require_go() {
  if ! is_at_least "$go_oldest" "$(go_version)"; then
    die "there is no Pulumi CLI $oldest or newer on PATH, its release pages cannot be reached, and there is no Go $go_oldest or newer to build it with; install Pulumi or Go, and run this again."
  fi
}

# go_build FOLDER TARGET PACKAGE VERSION
go_build() {
  # In the folder that is removed when the build is cut off.
  mkdir "$2/tmp"
  # Go tells of every module that it fetches; that matters only when something goes wrong.
  if ! GOTMPDIR=$2/tmp run_go "$1" build -mod=readonly -trimpath -o "$2/" \
    -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$4" "$3" 2>"$2/build.log"; then
    tail -n 20 "$2/build.log" >&2
    die "the build failed, for the reason above; if Go could not reach its module proxy, set GOPROXY to one that it reaches, and run this again."
  fi
  rm -r "$2/tmp" "$2/build.log"
}

# The user's flags and workspace are for other modules; without cgo no C compiler is needed.
run_go() {
  (cd "$here/$1" && shift && GOFLAGS='' GOWORK=off CGO_ENABLED=0 go "$@")
}

# Asked outside of any module, so that no go.mod makes it fetch another Go.
go_version() {
  local found
  found=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || found=
  printf '%s\n' "${found#go}"
}

main "$@"
