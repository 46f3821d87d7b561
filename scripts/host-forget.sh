#!/usr/bin/env bash
# The last thing that is done on a machine: the program's own folders go.
set -euo pipefail
: "${FOLDERS:?one a line}"

while read -r folder; do
  rm -rf "$folder"
done <<<"$FOLDERS"
