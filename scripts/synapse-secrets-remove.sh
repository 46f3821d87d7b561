#!/usr/bin/env bash
# Removes secrets that the next deployment makes anew. The signing key is not among them.
set -euo pipefail
: "${FOLDER:?}"

rm -rf "$FOLDER"
