#!/usr/bin/env bash
# Makes sure that there is something to make the last backup with, which `pulumi destroy` begins with where it purges.
# Nothing of it can differ later.
set -euo pipefail
: "${PROGRAM:?that makes a backup}"

[[ -x $PROGRAM ]] || fail "there is no $PROGRAM to make a last backup with: run pulumi up again"
