#!/usr/bin/env bash
# Removes the releases of a program and the link to the one in use. What the link's place has else, as a server that was built by
# hand and could not be taken over, is nothing of ours.
set -euo pipefail
: "${LINK:?}" "${FOLDER:?with the releases in it}"

[[ $(readlink "$LINK") != "$FOLDER"/* ]] || rm -f "$LINK"
rm -rf "$FOLDER"
