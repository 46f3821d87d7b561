#!/usr/bin/env bash
# Removes what a later deployment makes again.
set -euo pipefail
: "${PATHS:?files and folders, one a line}"

while read -r path; do
  rm -rf "$path"
done <<<"$PATHS"
