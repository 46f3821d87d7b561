#!/usr/bin/env bash
# Says what `pulumi destroy` has kept, and where.
set -euo pipefail
: "${SERVER_NAME:?}" "${HOME_FOLDER:?}" "${DATABASE?}" "${STATUS:?of the last backup}"

size() { du -sh "$1" 2>/dev/null | cut -f1; }
kept=("$HOME_FOLDER/media_store ($(size "$HOME_FOLDER/media_store"))" "$HOME_FOLDER/$SERVER_NAME.signing.key")
[[ -z $DATABASE ]] || kept+=("the database $DATABASE in /var/lib/pgsql/data ($(size /var/lib/pgsql/data))")
backups=$(dirname "$(last_backup "$STATUS")")
[[ $backups == . ]] || kept+=("backups in $backups ($(size "$backups"))")
printf -v list '%s, ' "${kept[@]}"
say "kept on the machine: ${list%, }; pulumi up goes on with them"
