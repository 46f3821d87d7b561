#!/usr/bin/env bash
# What the lab and the tests need on this machine: the project's packages, and a Pulumi of the lab's own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

cd "$(lab_root)"
command -v npm >/dev/null || die "Node.js 20 or newer with npm is missing: install that first."
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing the project's npm packages..."
  npm ci --silent >&2 || die "npm could not install the project's packages (see above)."
  touch node_modules/.package-lock.json
fi
lab/toolchain/install.sh
lab/toolchain/plugins.sh
