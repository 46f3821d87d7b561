#!/usr/bin/env bash
# Removes every release of Synapse; a package index can bring them back.
set -euo pipefail
: "${RELEASES:?}" "${LINK:?}"

rm -f "$LINK"
rm -rf "$RELEASES"
