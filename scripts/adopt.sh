#!/usr/bin/env bash
# adopt RELEASE: stops a server that was built by hand and leaves the machine as though an earlier deployment had been running it,
# so that what comes next is an upgrade like any other, RELEASE in the place of the old environment. With a database of SQLite,
# that is copied into PostgreSQL by RELEASE's own tools. What fails here ends with the old server running again.
set -euo pipefail
: "${ADOPTED:?where the old environment goes}" "${LINK:?to the release in use}" "${OLD_UNIT:?}" "${UNIT:?that it becomes}"
: "${SQLITE?path of the old database, empty where it is PostgreSQL already}" "${MEDIA_STORE:?}" "${HOME_FOLDER:?}" "${USER_NAME:?}"
: "${HEALTH_URL:?}" "${STAGED:?folder of the configuration that is to come}" "${KEEP:?folder for the set that answered last}" "${WORK:?folder for what was there before}"

release=${1:?}

# Since the take-over the link names a release of this program's.
if [[ -L $LINK && $(readlink "$LINK") != "$ADOPTED" ]]; then exit 0; fi

as_service() { (cd "$HOME_FOLDER" && runuser -u "$USER_NAME" -- "$@"); }

# It has the new name where an earlier take-over failed and it was put back.
if systemctl is-active -q "$UNIT"; then running=$UNIT; else running=$OLD_UNIT; fi
unit_file=$(systemctl show -p FragmentPath --value "$running")
[[ -s $unit_file ]] || fail "there is no unit $OLD_UNIT (adopt.unit) on this machine any more: start the old server, then run make adopt again"

# With its last words.
start_again() {
  local status=$?
  if ((status == 0)); then return; fi
  systemctl reset-failed "$running" 2>/dev/null || true
  if systemctl start "$running" && wait_until 120 curl -sf --max-time 5 "$HEALTH_URL"; then
    say "the old server was started again and is serving; nothing of it was lost"
  else
    say "the old server did not start again: see 'systemctl status $running' on the machine"
  fi
  exit "$status"
}

# What activation puts back when the new server does not answer.
remember_old() {
  local file source
  [[ ! -e $KEEP/link-target ]] || return 0
  rm -rf "$KEEP.new"
  install -d -m 0700 "$KEEP.new"
  install -m 0600 "$unit_file" "$KEEP.new/$UNIT"
  for file in homeserver.yaml log.yaml; do
    source=$HOME_FOLDER/$file
    # Where the old server reads others, any will do.
    [[ -e $source ]] || source=$STAGED/$file
    install -m 0600 "$source" "$KEEP.new/$file"
    install -m 0600 "$source" "$WORK/$file"
  done
  printf '%s\n' "$ADOPTED" >"$KEEP.new/link-target"
  printf 'the old server\n' >"$KEEP.new/restart-on"
  mv -T "$KEEP.new" "$KEEP"
}

move_media() {
  local ours=$HOME_FOLDER/media_store
  if [[ $MEDIA_STORE != "$ours" && ! -L $MEDIA_STORE ]]; then
    if [[ -d $MEDIA_STORE ]]; then
      rmdir "$ours" || fail "both $MEDIA_STORE and $ours have files in them: move what is in $ours elsewhere, then run pulumi up again"
      mv -T "$MEDIA_STORE" "$ours"
    fi
    # The old server finds it there, too.
    ln -sfnT "$ours" "$MEDIA_STORE"
  fi
  chown -Rh "$USER_NAME:$USER_NAME" "$ours"
  relabel -R "$ours"
}

move_environment() {
  if [[ -d $LINK && ! -L $LINK ]]; then mv -T "$LINK" "$ADOPTED"; fi
  ln -sfnT "$ADOPTED" "$LINK"
}

# in_postgresql PROGRAM: Python that finds `connection`, to the database that Synapse is to use.
in_postgresql() {
  as_service "$release/bin/python" -c "
import psycopg2, sys, yaml
args = yaml.safe_load(open('$STAGED/homeserver.yaml'))['database']['args']
connection = psycopg2.connect(**{name: value for name, value in args.items() if not name.startswith('cp_')})
cursor = connection.cursor()
$1
connection.commit()"
}
COUNTS='[(cursor.execute("SELECT count(*) FROM " + table), cursor.fetchone()[0])[1] for table in ("users", "access_tokens", "rooms", "events", "local_media_repository")]'

copy_database() {
  local folder=$WORK/sqlite size free tables before after began=$SECONDS
  [[ -s $SQLITE ]] || fail "there is no database $SQLITE (adopt.sqlite): run make adopt again"
  tables=$(in_postgresql 'cursor.execute("SELECT count(*) FROM pg_tables WHERE tableowner = current_user"); print(cursor.fetchone()[0])') ||
    fail "PostgreSQL does not let Synapse in (see above)"
  if ((tables > 0)); then
    # Only what an earlier copy left may go.
    [[ -e $WORK/copying ]] || fail "the database in PostgreSQL, which $SQLITE is to be copied to, has tables already: rename it (ALTER DATABASE synapse RENAME TO …), then run pulumi up again"
    in_postgresql 'cursor.execute("DROP OWNED BY CURRENT_USER")' || fail "PostgreSQL refused to remove what an earlier copy left (see above)"
  fi
  size=$(stat -c %s "$SQLITE")
  free=$(df --output=avail -B1 "$WORK" | tail -n 1)
  ((free > 4 * size)) || fail "only $((free / 1048576)) MB are free for $WORK, and $((4 * size / 1048576)) MB are needed to copy $SQLITE: free some space, then run pulumi up again"

  touch "$WORK/copying"
  rm -rf "$folder"
  install -d -m 0700 -o "$USER_NAME" -g "$USER_NAME" "$folder"
  # The tools bring the file to the release's own schema, so they get a copy; what is not merged yet lies beside it.
  install -m 0600 -o "$USER_NAME" -g "$USER_NAME" "$SQLITE" "$folder/homeserver.db"
  if [[ -e $SQLITE-wal ]]; then install -m 0600 -o "$USER_NAME" -g "$USER_NAME" "$SQLITE-wal" "$folder/homeserver.db-wal"; fi
  as_service "$release/bin/python" -c "
import yaml
config = yaml.safe_load(open('$STAGED/homeserver.yaml'))
# A second's rest after each step is for a server that has others to serve.
config['background_updates'] = {'sleep_duration_ms': 1}
yaml.safe_dump(config, open('$folder/postgresql.yaml', 'w'))
config['database'] = {'name': 'sqlite3', 'args': {'database': '$folder/homeserver.db'}}
yaml.safe_dump(config, open('$folder/sqlite.yaml', 'w'))"
  say "copying $SQLITE ($((size / 1048576)) MB) into PostgreSQL, while nobody is served"
  quietly as_service "$release/bin/update_synapse_database" --database-config "$folder/sqlite.yaml" --run-background-updates ||
    fail "the new release could not bring a copy of $SQLITE to its own schema (see above)"
  quietly as_service "$release/bin/synapse_port_db" --sqlite-database "$folder/homeserver.db" --postgres-config "$folder/postgresql.yaml" ||
    fail "a copy of $SQLITE could not be brought into PostgreSQL (see above)"
  before=$(as_service "$release/bin/python" -c "import sqlite3; cursor = sqlite3.connect('$folder/homeserver.db').cursor(); print($COUNTS)")
  after=$(in_postgresql "print($COUNTS)")
  [[ $before == "$after" ]] || fail "PostgreSQL has other numbers of users, sessions, rooms, events and media ($after) than $SQLITE ($before)"
  say "copied in $((SECONDS - began)) s; users, sessions, rooms, events and media: $after. $SQLITE stays as it is"
  rm -rf "$folder"
}

install -m 0600 "$unit_file" "$WORK/$OLD_UNIT"
remember_old
trap start_again EXIT
say "stopping the old server, $running"
quietly systemctl stop "$running" || fail "systemd could not stop $running: see 'systemctl status $running' on the machine"
move_media
[[ -z $SQLITE ]] || copy_database
move_environment
if [[ $running != "$UNIT" ]]; then
  quietly systemctl disable "$running" || fail "systemd could not disable $running: see 'systemctl status $running' on the machine"
  # Nobody shall start it beside the new one; the copy is in the folder for what was there before.
  [[ $unit_file != /etc/systemd/system/* ]] || rm -f "$unit_file"
fi
