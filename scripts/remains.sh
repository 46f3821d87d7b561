#!/usr/bin/env bash
# Notes on the machine what `pulumi destroy` is to do with the data, and says it. What is removed with purge looks there, too.
# Nothing of it can differ later.
set -euo pipefail
: "${PURGE:?no, true or without-backup}" "${PURGE_FILE:?}"
: "${SERVER_NAME:?}" "${HOME_FOLDER:?}" "${DATABASE?empty, where it is elsewhere}"

install -d -m 0755 "$(dirname "$PURGE_FILE")"
printf '%s\n' "$PURGE" >"$PURGE_FILE"

data="the media and the signing key of $SERVER_NAME in $HOME_FOLDER${DATABASE:+, and the database $DATABASE in /var/lib/pgsql}"
case $PURGE in
no) say "pulumi destroy would keep $data" ;;
true) say "PURGE: pulumi destroy would make a last backup, which stays, and then REMOVE $data" ;;
*) say "PURGE: pulumi destroy would REMOVE $data, WITHOUT a last backup" ;;
esac
