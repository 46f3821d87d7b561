#!/usr/bin/env bash
# Saves all that cannot be made again in one file that only the recipient's private key opens. Run by a timer, or by hand.
set -euo pipefail
: "${SERVER_NAME:?}" "${RUN_AS:?}" "${HOME_FOLDER:?}" "${DATABASE:?how libpq reaches it}" "${PYTHON:?that Synapse runs with}"
: "${RECIPIENT:?file with an OpenPGP public key}" "${DIRECTORY:?where backups are kept}" "${KEEP:?how many}" "${STATUS:?file}"
: "${WORK:?folder for what is not encrypted yet}" "${STORE?program that copies a backup to a store; empty: there is none}"

umask 077

exec 9>/run/lock/matrix-homeserver-backup
flock -n 9 || fail "a backup is being made or restored already: let it finish ('systemctl status matrix-homeserver-backup')"

began=$SECONDS
stamp=$(date -u +%Y%m%dT%H%M%SZ)
final=$DIRECTORY/$SERVER_NAME-$stamp.tar.gpg
unfinished=$DIRECTORY/.$SERVER_NAME.tar.gpg.new

# Also from within $(...), whose variables nobody else sees.
give_up() {
  printf '%s\n' "$*" >"$WORK/problem"
  fail "$*; no backup was made, and the earlier ones are as they were"
}
# What people and later checks read. A failure leaves what it says of the last whole backup, and of the last that was copied.
whole=false copied=false
write_status() { # begun|ok|failed
  {
    printf 'result=%s\ntime=%s\n' "$1" "$stamp"
    [[ $1 == begun ]] || printf 'seconds=%s\n' "$((SECONDS - began))"
    [[ $1 != failed ]] || printf 'problem=%s\n' "$(cat "$WORK/problem" 2>/dev/null || printf 'it was cut off')"
    if [[ $whole == true ]]; then
      printf 'last_ok=%s\nfile=%s\nbytes=%s\n' "$stamp" "$final" "$(stat -c %s "$final")"
    else
      grep -sE '^(last_ok|file|bytes)=' "$STATUS" || true
    fi
    if [[ $copied == true ]]; then
      printf 'last_copied=%s\n' "$stamp"
    elif [[ -n $STORE ]]; then
      grep -s '^last_copied=' "$STATUS" || true
    fi
  } >"$STATUS.new" && chmod 0644 "$STATUS.new" && sync "$STATUS.new" && mv -fT "$STATUS.new" "$STATUS" && sync "$(dirname "$STATUS")"
}
finish() {
  local status=$?
  [[ $status == 0 ]] || write_status failed || true
  rm -rf "$WORK" "$unfinished"
}
rm -rf "$WORK"
install -d -m 0700 "$WORK" "$WORK/configuration" "$WORK/gpg"
trap finish EXIT
trap 'exit 143' TERM
# A machine that loses its power in the middle says no more than this. Where it cannot be written, a backup is worth more than its record.
write_status begun || true

as_service() { (cd "$HOME_FOLDER" && runuser -u "$RUN_AS" -- "$@"); }
sql() { as_service psql -qAtXw -v ON_ERROR_STOP=1 "$DATABASE" -c "$1" || give_up "the database does not answer (see above)"; }
python() { as_service "$PYTHON" -c "$1" || give_up "Synapse's own Python does not answer (see above)"; }
need_room() { # FOLDER BYTES
  local free
  free=$(df --output=avail -B1 "$1" | tail -n 1)
  ((free > $2)) ||
    give_up "only $((free / 1048576)) MB are free in $1, and about $(($2 / 1048576 + 1)) MB are needed: free some space, keep fewer backups (backup.keep), or name another folder (backup.directory)"
}

[[ -d $DIRECTORY ]] || install -d -m 0700 "$DIRECTORY" || give_up "the folder $DIRECTORY cannot be made: check backup.directory"
rm -f "$unfinished" || give_up "the folder $DIRECTORY cannot be written to: check backup.directory and what is mounted there"
database_size=$(sql "SELECT pg_database_size(current_database())")
need_room "$WORK" "$((database_size + 16777216))"

# A device's one-time keys are given away once each. Those that were used since the backup would be given away a second time
# after a restore, and nobody could read what is encrypted with them: left out, the devices make new ones.
as_service pg_dump -Fc --no-owner --no-privileges --exclude-table-data='*.e2e_one_time_keys_json' -w -d "$DATABASE" >"$WORK/database.dump" ||
  give_up "pg_dump could not save the database (see above)"
for file in homeserver.yaml log.yaml "$SERVER_NAME.signing.key" secrets; do
  cp -a "$HOME_FOLDER/$file" "$WORK/configuration/" || give_up "$HOME_FOLDER/$file could not be read (see above)"
done

about=(
  "format=1"
  "server_name=$SERVER_NAME"
  "time=$stamp"
  "synapse=$(python 'from importlib.metadata import version; print(version("matrix-synapse"))')"
  "synapse_schema_compat=$(sql 'SELECT compat_version FROM schema_compat_version')"
  "postgresql=$(sql 'SHOW server_version_num')"
  "pg_dump=$(pg_dump --version | grep -oE '[0-9]+' | head -n 1)"
  "database_bytes=$(stat -c %s "$WORK/database.dump")"
)
[[ ! -e $WORK/problem ]] || exit 1

# Media that the saved database knows were whole before it was saved; what is newer comes with the next backup. What makes
# itself again (the previews of web pages) is left out.
touch "$WORK/mark"
list_media() {
  cd "$HOME_FOLDER"
  find media_store -type f ! -newer "$WORK/mark" ! -path 'media_store/url_cache*' -print0 | sort -z >"$WORK/media.list" &&
    media_files=$(tr -dc '\0' <"$WORK/media.list" | wc -c) &&
    media_bytes=$(xargs -0r stat -c %s <"$WORK/media.list" | awk '{ sum += $1 } END { printf "%d", sum }')
}
write_manifest() {
  cd "$HOME_FOLDER"
  xargs -0r sha256sum <"$WORK/media.list" >"$WORK/media.sha256" || return
  cd "$WORK"
  {
    printf '%s\n' "${about[@]}" "media_files=$media_files" "media_bytes=$media_bytes" &&
      find database.dump media.sha256 configuration -type f -print0 | sort -z | xargs -0 sha256sum | sed 's/^/sha256=/'
  } >manifest
}
# No key ring of the machine's own takes part: that would be one more thing to look after.
encrypt() {
  gpg --homedir "$WORK/gpg" --batch --quiet --no-autostart --trust-model always --compress-algo none \
    --recipient-file "$RECIPIENT" --output - --encrypt
}
write_backup() {
  tar --create --format=posix --numeric-owner --directory="$WORK" manifest media.sha256 database.dump configuration \
    --directory="$HOME_FOLDER" --null --files-from="$WORK/media.list" | encrypt >"$unfinished"
}
# A file that was written to meanwhile is not what its sum says; one that was removed has stopped tar.
media_stayed() {
  cd "$HOME_FOLDER"
  find media_store -type f -newer "$WORK/mark" -print0 | sort -z | comm -z -12 - "$WORK/media.list" >"$WORK/changed" && [[ ! -s $WORK/changed ]]
}

for attempt in 1 2 3; do
  if list_media; then
    # The cipher adds a thousandth, tar and the sums two kilobytes a file.
    need_room "$DIRECTORY" "$(($(stat -c %s "$WORK/database.dump") + media_bytes + media_bytes / 500 + media_files * 2048 + 2097152))"
    if write_manifest && write_backup && media_stayed; then break; fi
  fi
  ((attempt < 3)) || give_up "the backup could not be written to $DIRECTORY (see above), where $(df -h --output=avail "$DIRECTORY" | tail -n 1 | tr -d ' ') are free"
  say "once more, because media were removed or changed meanwhile, or because it could not be written (see above)"
done
cd /
{ sync "$unfinished" && mv -T "$unfinished" "$final" && sync "$DIRECTORY"; } ||
  give_up "the backup could not be put into $DIRECTORY (see above)"
whole=true

# Newest first, each with a null behind it.
list_backups() { find "$DIRECTORY" -maxdepth 1 -type f -name "$SERVER_NAME-????????T??????Z.tar.gpg" -print0 | sort -rz; }
list_backups | tail -zn "+$((KEEP + 1))" | xargs -0r rm -f
to_store() { # FILE...
  local answer
  answer=$("$STORE" put "$@" 2>&1) && return
  printf '%s\n' "a backup was made in $DIRECTORY, but ${answer#error: }" >"$WORK/problem"
  fail "$(cat "$WORK/problem")"
}
if [[ -n $STORE ]]; then
  to_store "$final"
  copied=true
  # Those that an earlier run could not copy.
  mapfile -d '' -t earlier < <(list_backups | tail -zn +2)
  ((${#earlier[@]} == 0)) || to_store "${earlier[@]}"
fi
write_status ok
say "saved $final, $(stat -c %s "$final") bytes, in $((SECONDS - began)) s: a database dump of $(stat -c %s "$WORK/database.dump") bytes, $media_files media files of $media_bytes bytes"
