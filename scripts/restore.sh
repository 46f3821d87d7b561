#!/usr/bin/env bash
# Puts a backup, decrypted and on file descriptor 3, in place of what a homeserver has. `check` reads a manifest only and refuses what
# will not do. What was there before comes back when Synapse does not start, and when a run was cut off, with the next one.
# `force` replaces users and rooms as well.
set -euo pipefail
: "${SERVER_NAME:?}" "${RUN_AS:?}" "${HOME_FOLDER:?}" "${DATABASE:?how libpq reaches it}" "${PYTHON:?that Synapse runs with}"
: "${ADMIN_USER_ID:?}" "${UNIT:?}" "${HEALTH_URL:?}" "${WORK:?folder for what comes and for what was there, where no account but root writes}"

umask 077
new=$WORK/new
before=$WORK/before
key=$SERVER_NAME.signing.key
began=$SECONDS
check=false force=false
for word in "$@"; do
  case $word in
  check) check=true ;;
  force) force=true ;;
  *) fail "restore knows the words check and force, not '$word'" ;;
  esac
done

exec 9>/run/lock/matrix-homeserver-backup
flock -n 9 || fail "a backup is being made or restored already: let it finish ('systemctl status matrix-homeserver-backup')"

as_service() { (cd "$HOME_FOLDER" && runuser -u "$RUN_AS" -- "$@"); }
psql() { as_service psql -qAtXw -v ON_ERROR_STOP=1 "$DATABASE" "$@"; }
sql() { psql -c "$1" || fail "the database does not answer (see above)"; }
said() { sed -n "s/^$1=//p" "$new/manifest"; }
start() {
  systemctl reset-failed "$UNIT" 2>/dev/null || true
  # The first start after a restore may have to bring the database to a newer schema.
  timeout 900 systemctl start "$UNIT" >/dev/null 2>&1 && wait_until 120 answers "$UNIT" "$HEALTH_URL"
}

# One transaction, whose COMMIT comes last: all of it, or nothing, also when this is ended in the middle. Everything of the role's goes first, because tables of a newer schema would be in the
# way of that schema's own steps later.
replace_database() { # DUMP ADMIN_HASH
  local list=$WORK/contents
  (umask 022 && pg_restore --list "$1" | grep -vE ' (SCHEMA|EXTENSION|COMMENT) - ' >"$list") || return
  {
    cat <<'SQL'
BEGIN;
SET lock_timeout = '60s';
SET client_min_messages = warning;
DO $do$
DECLARE item record;
BEGIN
  FOR item IN
    -- A table takes what belongs to it along, its sequences too: those of their own come after.
    SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
      nspname, relname) AS statement, relkind = 'S' AS later
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND pg_get_userbyid(relowner) = current_user
    UNION ALL
    SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', pg_proc.oid::regprocedure), true
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND pg_get_userbyid(proowner) = current_user
    ORDER BY later
  LOOP
    EXECUTE item.statement;
  END LOOP;
END
$do$;
SQL
    as_service pg_restore --no-owner --no-privileges --use-list="$list" --file=- <"$1" ||
      # Whether it ended inside a table's rows or not, psql stops here, and nothing is committed.
      printf '\n\\.\nSELECT the_dump_was_cut_off;\n'
    # What is to be in force is the stack's password, and the database before has it.
    [[ -z $2 ]] || printf '\nRESET search_path;\nUPDATE users SET password_hash = %s, admin = 1 WHERE name = %s;\n' "$(literal "$2")" "$(literal "$ADMIN_USER_ID")"
    printf '\nCOMMIT;\n'
  } | psql --file=- >/dev/null
}

# Idempotent, because it may be cut off as well.
put_back() {
  local item
  systemctl stop "$UNIT"
  for item in media_store "$key"; do
    [[ -e $before/$item ]] || continue
    rm -rf "${HOME_FOLDER:?}/$item"
    mv -T "$before/$item" "$HOME_FOLDER/$item"
  done
  if [[ -e $WORK/database-changed ]]; then
    replace_database "$before/database.dump" '' || return
  fi
  start && rm -f "$WORK/unproven" && rm -rf "$WORK"
}

if [[ -e $WORK/unproven ]]; then
  say "an earlier restore was cut off: putting back what was there before it"
  put_back || fail "what was there before an earlier restore, which was cut off, could not be put back; it is in $before on the machine"
fi
rm -rf "$WORK"
install -d -m 0711 "$WORK"
install -d -m 0700 "$new" "$before"
trap 'rm -rf "$new"' EXIT

if [[ $check == true ]]; then cat <&3 >"$new/manifest"; else
  say "receiving the backup"
  tar --extract --directory="$new" --no-same-owner <&3 || fail "what came is not a whole backup (see above), or the disk is full: nothing was changed"
fi

# What is refused, before anything is stopped.
[[ $(said format) == 1 ]] || fail "this is no backup that this program knows (its format is '$(said format)'): nothing was changed"
[[ $(said server_name) == "$SERVER_NAME" ]] ||
  fail "this is a backup of the homeserver $(said server_name), and this one is $SERVER_NAME, whose users and rooms have that name in them: nothing was changed"
server=$(sql 'SHOW server_version_num')
client=$(pg_restore --version | grep -oE '[0-9]+' | head -n 1)
(($(said postgresql) / 10000 <= server / 10000 && $(said pg_dump) <= client)) ||
  fail "the backup is from PostgreSQL $(($(said postgresql) / 10000)), and this machine has $((server / 10000)), which cannot read it: use a machine with the newer one; nothing was changed"
knows=$(as_service "$PYTHON" -c 'from synapse.storage.schema import SCHEMA_VERSION; print(SCHEMA_VERSION)') || fail "Synapse does not say which database schema it knows (see above)"
(($(said synapse_schema_compat) <= knows)) ||
  fail "the backup is from Synapse $(said synapse), and the release on this machine is too old for its database: set synapse.version to $(said synapse) or newer, run pulumi up, then this again; nothing was changed"
if [[ $(sql "SELECT to_regclass('users') IS NOT NULL AND to_regclass('rooms') IS NOT NULL") == t ]]; then
  users=$(sql "SELECT count(*) FROM users WHERE name <> $(literal "$ADMIN_USER_ID")")
  rooms=$(sql 'SELECT count(*) FROM rooms')
  [[ $force == true || "$users $rooms" == "0 0" ]] ||
    fail "this homeserver is in use: it has $users users besides $ADMIN_USER_ID and $rooms rooms, which a restore would destroy; when that is what you want, say FORCE=yes. Nothing was changed"
  admin_hash=$(sql "SELECT password_hash FROM users WHERE name = $(literal "$ADMIN_USER_ID")")
else
  admin_hash=''
fi
if [[ $check == true ]]; then
  need=$(($(said database_bytes) + $(said media_bytes) + 67108864))
  for folder in "$WORK" "$HOME_FOLDER"; do
    free=$(df --output=avail -B1 "$folder" | tail -n 1)
    ((free > need)) || fail "only $((free / 1048576)) MB are free for $folder, and $((need / 1048576)) MB are needed: use a machine with a larger disk; nothing was changed"
  done
  exit 0
fi

cd "$new"
sums_are_right() {
  sed -n 's/^sha256=//p' manifest | sha256sum --quiet --check || return
  [[ ! -s media.sha256 ]] || sha256sum --quiet --check media.sha256
}
sums_are_right ||
  fail "the backup is damaged: what is in it is not what its sums say (see above); nothing was changed"
[[ $(find media_store -type f 2>/dev/null | wc -l) == "$(said media_files)" ]] || fail "the backup is damaged: media are missing from it; nothing was changed"
install -d media_store
chown -R "$RUN_AS:$RUN_AS" media_store
find media_store -type d -exec chmod 0750 {} +
chown "$RUN_AS:$RUN_AS" "configuration/$key"
chmod 0600 "configuration/$key"
cd /

made=$(said time)
# From here on it goes on to its end also when nobody listens any more.
trap '' HUP PIPE
tell() { say "$@" || true; }

undo() {
  journalctl -q -u "$UNIT" -n 20 --no-pager -o cat >&2 || true
  if put_back; then fail "$1 (see above); what was there before was put back and is serving"; fi
  fail "$1 (see above), and what was there before could not be put back; it is in $before on the machine, and the next restore tries it again"
}
stopped=$SECONDS
touch "$WORK/unproven"
tell "stopping Synapse"
quietly systemctl stop "$UNIT" || undo "Synapse did not stop"
as_service pg_dump -Fc --no-owner --no-privileges -w -d "$DATABASE" >"$before/database.dump" || undo "the database as it is could not be saved"
sync -f "$WORK"
tell "restoring the database"
touch "$WORK/database-changed"
replace_database "$new/database.dump" "$admin_hash" || undo "the database took no restore"
tell "restoring media and the signing key"
for item in media_store "$key"; do
  [[ ! -e $HOME_FOLDER/$item ]] || mv -T "$HOME_FOLDER/$item" "$before/$item"
  [[ $item == "$key" ]] && from=configuration/$key || from=$item
  mv -T "$new/$from" "$HOME_FOLDER/$item"
done
relabel -R "$HOME_FOLDER/media_store" "$HOME_FOLDER/$key"
tell "starting Synapse"
start || undo "Synapse did not start with what was restored"
sync -f "$HOME_FOLDER"
rm -f "$WORK/unproven"
rm -rf "$WORK"
# The planner knows nothing of the tables yet; where it is not told, it finds out by itself in time.
psql -c ANALYZE >/dev/null 2>&1 || true

tell "restored the backup of $made in $((SECONDS - began)) s, of which nobody was served for $((SECONDS - stopped)) s"
if [[ $(sql "SELECT count(*) FROM users WHERE name = $(literal "$ADMIN_USER_ID")") == 0 ]]; then
  # The mark says that the account has the stack's password.
  rm -f /etc/matrix-homeserver/admin-password
  tell "note: the backup has no account $ADMIN_USER_ID; set admin.password in the stack, and pulumi up makes it"
fi
