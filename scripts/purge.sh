#!/usr/bin/env bash
# Removes a homeserver's data for good: database and role, media, signing key, account. Runs last of all, when nothing serves any more.
set -euo pipefail
: "${PURGE:?true or without-backup}" "${PURGE_FILE:?what the machine was told of it}" "${SERVER_NAME:?}" "${HOME_FOLDER:?}" "${RUN_AS:?}"
: "${DATABASE?empty, where it is elsewhere}" "${ROLE?}" "${STATUS:?of the last backup}" "${FOLDERS:?one a line}"

CLUSTER=/var/lib/pgsql/data

# A run that was cut off has removed it already, with the last of the folders.
if [[ ! -e $PURGE_FILE && ! -e $HOME_FOLDER ]]; then exit 0; fi
[[ $(cat "$PURGE_FILE" 2>/dev/null) == "$PURGE" ]] ||
  fail "$PURGE_FILE on the machine does not say $PURGE, so its data were not removed: run pulumi up with the setting purge as you mean it, then pulumi destroy"

is_idle() { ! pgrep -u "$1"; }

remove_database() {
  local others
  systemctl is-active -q postgresql || quietly systemctl start postgresql ||
    fail "PostgreSQL did not start, so its database was not removed: see 'journalctl -u postgresql' on the machine"
  wait_until 60 postgresql_answers || fail "PostgreSQL does not answer, so its database was not removed: see $CLUSTER/log on the machine"
  postgres_sql <<SQL || fail "the database $DATABASE or its role could not be removed (see above): end what uses them, then run pulumi destroy again"
SET client_min_messages = warning;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $(literal "$DATABASE") \g /dev/null
SELECT format('DROP DATABASE IF EXISTS %I', $(literal "$DATABASE")) \gexec
SELECT format('DROP ROLE IF EXISTS %I', $(literal "$ROLE")) \gexec
SQL
  # postgres is there from the beginning, and is somebody's only when there is something in it.
  others=$(postgres_sql -c "SELECT string_agg(datname, ', ') FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
  [[ $(postgres_sql -d postgres -c "SELECT count(*) FROM pg_stat_user_tables") == 0 ]] || others+=${others:+, }postgres
  if [[ -n $others ]]; then
    sed -i '/^# BEGIN matrix-homeserver$/,/^# END matrix-homeserver$/d' "$CLUSTER/pg_hba.conf"
    quietly systemctl reload postgresql
    say "kept PostgreSQL, which has databases of somebody else's: $others"
    return
  fi
  quietly systemctl disable --now postgresql || fail "PostgreSQL did not stop: see 'systemctl status postgresql' on the machine"
  # What an upgrade kept of the version before has the same data.
  rm -rf /var/lib/pgsql/data-*.before-matrix-homeserver
  # The folder itself belongs to the package, and may be a disk of its own.
  find "$CLUSTER" -mindepth 1 -delete
}

if [[ -n $DATABASE && -s $CLUSTER/PG_VERSION ]]; then remove_database; fi

# Nobody's files may be left to an account that gets the same number later.
if getent passwd "$RUN_AS" >/dev/null; then
  pkill -u "$RUN_AS" || true
  wait_until 30 is_idle "$RUN_AS" || fail "processes of the account $RUN_AS do not end: end them, then run pulumi destroy again"
fi
while read -r folder; do
  rm -rf "$folder" || fail "$folder could not be removed (see above): is something mounted there? Unmount it, then run pulumi destroy again"
done <<<"$FOLDERS"
if getent passwd "$RUN_AS" >/dev/null; then quietly userdel "$RUN_AS"; fi
if getent group "$RUN_AS" >/dev/null; then quietly groupdel "$RUN_AS"; fi
rm -f "$PURGE_FILE"
backup=$(last_backup "$STATUS")
say "removed the media, the signing key${DATABASE:+ and the database} of $SERVER_NAME for good${backup:+; the last backup is $backup}"
