#!/usr/bin/env bash
# Brings the data of the machine's PostgreSQL to a newer major version: a dump is restored into a new cluster and compared, table by table, with
# what was there. Until it is found equal and Synapse answers with it, every failure puts the old version and its data back, and so
# does the next run where this one was cut off. With `check` it only says what is in the way. The old data are kept.
set -euo pipefail
: "${TO:?major version}" "${ROLE:?}" "${DATABASE:?}" "${STACK:?project/stack}" "${STATE:?}" "${WORK:?folder, where no account but root writes}"
: "${PACKAGES:?program: module stream and packages}" "${CLUSTER:?program: a running cluster}" "${HEALTH_URL:?}"

umask 077
data=/var/lib/pgsql/data
check=false
[[ ${1:-} != check ]] || check=true
began=$SECONDS

# Nothing else may dump, restore or install meanwhile.
exec 8>/run/lock/matrix-homeserver-backup
flock -n 8 || fail "a backup, a restore or another upgrade is on its way on this machine: let it finish ('systemctl status matrix-homeserver-backup')"

# Values are compared as texts, which must not depend on a cluster's own settings.
sql() { PGTZ=UTC PGDATESTYLE=ISO,MDY as_postgres psql -qAtXw -v ON_ERROR_STOP=1 -d "${2:-postgres}" -c "$1"; }
major() { sed -n 's/^\([0-9]*\).*/\1/p' "$1/PG_VERSION" 2>/dev/null; }
remembered() { cat "$WORK/$1"; }
megabytes() { printf '%d' "$((($1 + 1048575) / 1048576))"; }
server_packages() { rpm -qa --qf '%{NAME} %{VERSION}\n' 'postgresql*' | sed -n "s/ $1\..*//p" | sort; }
running_units() { systemctl list-units --plain --no-legend --state=active,activating 'synapse*.service' | awk '{ print $1 }'; }

# Every table of the database: its rows, and a sum over them that does not depend on their order; every sequence; and what else
# a database has, by number.
survey() {
  sql "SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(whole_row::text, 0)::numeric), 0) FROM ONLY %I.%I AS whole_row', nspname || '.' || relname, nspname, relname)
       FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
       WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname, relname" "$DATABASE" |
    sed 's/$/;/' | PGTZ=UTC PGDATESTYLE=ISO,MDY as_postgres psql -qAtXw -v ON_ERROR_STOP=1 -d "$DATABASE" || return
  sql "SELECT 'sequence', schemaname, sequencename, last_value FROM pg_sequences ORDER BY 2, 3" "$DATABASE" || return
  sql "SELECT 'relations', relkind, count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
       WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' GROUP BY relkind ORDER BY relkind" "$DATABASE" || return
  sql "SELECT 'constraints', contype, count(*) FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
       WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' GROUP BY contype ORDER BY contype" "$DATABASE" || return
  sql "SELECT 'functions', count(*) FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
       WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'" "$DATABASE" || return
  sql "SELECT 'triggers', count(*) FROM pg_trigger WHERE NOT tgisinternal" "$DATABASE"
}

start_postgresql() {
  systemctl reset-failed postgresql 2>/dev/null || true
  quietly systemctl start postgresql && wait_until 300 as_postgres psql -qAtXc 'SELECT 1'
}
# All at once: systemd knows their order, Redis, Synapse and then its workers.
start_synapse() {
  local units
  mapfile -t units <"$WORK/units"
  ((${#units[@]} > 0)) || return 0
  systemctl reset-failed "${units[@]}" 2>/dev/null || true
  timeout 300 systemctl start "${units[@]}" >/dev/null 2>&1 && wait_until 120 curl -sf -o /dev/null --max-time 5 "$HEALTH_URL"
}
stop_synapse() {
  local units
  mapfile -t units < <(running_units)
  ((${#units[@]} == 0)) || quietly systemctl stop "${units[@]}"
}
# Only a superuser gets in: after a reboot in the middle Synapse must not write where it would be lost.
let_in() { sql "ALTER DATABASE \"$DATABASE\" CONNECTION LIMIT $1"; }

serve_again() { start_postgresql && let_in "$(remembered limit)" && start_synapse; }

use_stream() {
  # dnf switches no stream that is enabled.
  quietly dnf -q -y module reset postgresql && quietly dnf -q -y module enable "postgresql:$1"
}

# Idempotent, because it may be cut off as well.
go_back() {
  local from old
  from=$(remembered from)
  old=$data-$from.before-matrix-homeserver
  stop_synapse || return
  quietly systemctl stop postgresql || return
  if [[ -d $old ]]; then
    rm -rf "$data" || return
    # It would say of the old data that they are a cluster that was never finished.
    rm -f /var/lib/pgsql/.initdb-unfinished
    mv -T "$old" "$data" || return
    sync "$data/.."
  fi
  if [[ $(server_packages "$from") != "$(remembered packages)" ]]; then
    # Also over what a cut-off installation left.
    quietly rpm -U --oldpackage --replacepkgs --replacefiles "$WORK"/old/*.rpm || return
    systemctl daemon-reload
  fi
  quietly systemctl enable postgresql || return
  serve_again || return
  use_stream "$from" || say "note: dnf did not take the module stream back: run 'dnf module reset postgresql' and 'dnf module enable postgresql:$from' on the machine"
  finish
}
# Without the mark first, what is left of the folder means nothing.
finish() {
  rm -f "$WORK/begun"
  rm -rf "$WORK"
}

if [[ -e $WORK/equal && $check == false ]]; then
  # People may have written to the new one since: there is no way back by itself.
  say "an earlier run was cut off at its very end, with all data in PostgreSQL $(major $data): going on with that"
  serve_again ||
    fail "Synapse does not answer with PostgreSQL $(major $data), which has all data, found equal to the old ones: see 'journalctl -u synapse' on the machine; the data from before are in $(echo $data-*.before-matrix-homeserver)"
  finish
elif [[ -e $WORK/begun && $check == true ]]; then
  fail "an earlier run was cut off: run it again without CHECK, which puts PostgreSQL $(remembered from) back first"
elif [[ -e $WORK/begun ]]; then
  say "an earlier run was cut off: putting PostgreSQL $(remembered from) back first"
  go_back || fail "PostgreSQL $(remembered from) could not be put back (see above): its data are in $data or $data-$(remembered from).before-matrix-homeserver on the machine; put right what is said above and run this again"
fi
rm -rf "$WORK"

# What is refused, before anything is stopped.
[[ $(cat "$STATE/stack" 2>/dev/null) == "$STACK" ]] || fail "this machine is not kept by the stack $STACK, but by '$(cat "$STATE/stack" 2>/dev/null || printf nobody)': name the right stack in STACK"
from=$(major $data)
[[ -n $from ]] || fail "there are no data of PostgreSQL in $data on this machine: set host.postgresqlVersion to $TO, and pulumi up installs it"
if ((from == TO)); then
  say "PostgreSQL $TO has the data already"
  exit 0
fi
((from < TO)) || fail "PostgreSQL $from has the data, and TO is $TO: there is only a way to a newer version"
old=$data-$from.before-matrix-homeserver
[[ ! -e $old ]] || fail "$old is still there from an earlier upgrade: remove it, or move it elsewhere"
if [[ -L $data ]] || mountpoint -q "$data"; then fail "$data is a link or a disk of its own, which cannot be moved aside: mount the disk at /var/lib/pgsql instead"; fi
sql 'SELECT 1' >/dev/null || fail "PostgreSQL does not answer (see above): see 'journalctl -u postgresql' on the machine"
[[ $(sql 'SHOW data_directory') == "$data" && $(sql 'SHOW server_version_num') == "$from"* ]] || fail "the PostgreSQL that answers is not the one of $data: this program upgrades its own only"

shape=$(sql "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype || ' ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = $(literal "$DATABASE")")
[[ $shape == "UTF8 C C $ROLE" ]] || fail "the database $DATABASE is missing, or has encoding, collation, ctype and owner '$shape' where Synapse needs 'UTF8 C C $ROLE': run pulumi up, which says more"
others=$(sql "SELECT string_agg(datname, ', ') FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', $(literal "$DATABASE"))")
[[ -z $others ]] || fail "this PostgreSQL also has the databases $others, whose users would be cut off: move them to a server of their own, or upgrade by hand"
[[ $(sql "SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'S')") == 0 ]] || fail "somebody has made tables in the database postgres, which are not taken along: move them into a database of their own on another server"
[[ $(sql "SELECT count(*) FROM pg_tablespace WHERE spcname !~ '^pg_'") == 0 ]] || fail "this PostgreSQL has tablespaces outside of $data, which would not be taken along: upgrade by hand"
packages=$(server_packages "$from")
extensions=$(sql "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'" "$DATABASE")
share=$(sql "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")
for extension in $extensions; do
  package=$(rpm -qf --qf '%{NAME}' "$share/extension/$extension.control" 2>/dev/null || true)
  grep -qxF "${package:-none}" <<<"$packages" ||
    fail "the database uses the extension $extension, which is not of PostgreSQL's own packages and may not be there in version $TO: drop it (DROP EXTENSION), or upgrade by hand"
done

streams=$(timeout 300 dnf -q -y module list postgresql 2>&1 </dev/null) || {
  printf '%s\n' "$streams" | tail -n 30 >&2
  fail "dnf cannot read the machine's repositories (see above): check that they can be reached ('dnf repolist -v')"
}
streams=$(awk '$1 == "postgresql" { print $2 }' <<<"$streams" | sort -uV | xargs)
[[ " $streams " == *" $TO "* ]] || fail "the machine's repositories have PostgreSQL $streams, and not $TO: choose one of them that is newer than $from, or update the machine"

size=$(sql "SELECT pg_database_size($(literal "$DATABASE"))")
# The dump is a part of it, the new cluster as large, and its write-ahead log comes on top.
need=$((size * 2 + 1342177280))
for folder in "$(dirname "$WORK")" /var/lib/pgsql; do
  free=$(df --output=avail -B1 "$folder" | tail -n 1)
  ((free > need)) || fail "only $(megabytes "$free") MB are free for $folder, and $(megabytes "$need") MB are needed for a dump and a second copy of $(megabytes "$size") MB of data: free some space"
done
say "PostgreSQL $from has $(megabytes "$size") MB of data, and PostgreSQL $TO can take them"
[[ $check == false ]] || exit 0

# From here on it goes on to its end also when nobody listens any more.
trap '' HUP PIPE
tell() { say "$@" || true; }

install -d -m 0711 "$WORK"
printf '%s\n' "$from" >"$WORK/from"
printf '%s\n' "$packages" >"$WORK/packages"
sql "SELECT datconnlimit FROM pg_database WHERE datname = $(literal "$DATABASE")" >"$WORK/limit"
[[ $(remembered limit) != 0 ]] || printf -- '-1\n' >"$WORK/limit"
# By these the way back needs no network.
install -d "$WORK/old"
mapfile -t names <<<"$packages"
grep -qsx "stream *= *$from" /etc/dnf/modules.d/postgresql.module || use_stream "$from" || fail "dnf does not take the module stream postgresql:$from (see above)"
quietly dnf -q -y reinstall --downloadonly --destdir="$WORK/old" "${names[@]}" ||
  fail "the repositories no longer have the packages that are installed here (see above), by which there would be a way back: run 'dnf upgrade ${names[*]}' and 'systemctl restart postgresql' on the machine first"
fetch() { use_stream "$TO" && quietly dnf -q -y distro-sync --downloadonly "${names[@]}"; }
fetch || {
  use_stream "$from" || true
  fail "dnf could not fetch PostgreSQL $TO (see above): check that the machine's repositories can be reached ('dnf repolist -v'). Nothing was changed"
}
# How the old one was set, beyond what a new one is: told at the end.
settings() { sql "SELECT name || ' = ' || setting FROM pg_file_settings WHERE applied AND name <> 'lc_messages' ORDER BY 1"; }
rules() { sql "SELECT type, database, user_name, address, netmask, auth_method FROM pg_hba_file_rules ORDER BY line_number" | sort; }
settings >"$WORK/settings"
rules >"$WORK/rules"
running_units >"$WORK/units"

undo() {
  local why=$1
  journalctl -q -u postgresql -u synapse -n 10 --no-pager -o cat >&2 || true
  if go_back; then fail "$why (see above): PostgreSQL $from was put back with its data, and serves again"; fi
  fail "$why (see above), and PostgreSQL $from could not be put back: its data are in $data or $old on the machine; run this again, which tries once more"
}
stopped=$SECONDS
sync -f "$WORK"
touch "$WORK/begun"
tell "stopping Synapse"
let_in 0 >/dev/null || undo "the database could not be closed to Synapse"
stop_synapse || undo "Synapse did not stop"
users=$(sql "SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), usename), ', ') FROM pg_stat_activity WHERE datname = $(literal "$DATABASE")")
[[ -z $users ]] || undo "something else than Synapse is in the database, $users: stop it"

tell "counting rows, and saving them with PostgreSQL $from"
jobs=$(nproc)
survey >"$WORK/survey" || undo "the tables could not be read"
install -d -m 0700 -o postgres -g postgres "$WORK/dump"
as_postgres pg_dumpall --globals-only -w >"$WORK/globals.sql" || undo "the roles could not be saved"
# A role that is there already is no error, nothing else is let pass.
sed -i '/^CREATE ROLE postgres;$/d' "$WORK/globals.sql"
as_postgres pg_dump -Fd -j "$jobs" -w -d "$DATABASE" -f "$WORK/dump/data" || undo "the database could not be saved"
quietly systemctl stop postgresql || undo "PostgreSQL $from did not stop"

tell "installing PostgreSQL $TO"
mv -T "$data" "$old"
install -d -m 0700 -o postgres -g postgres "$data"
relabel "$data"
sync -f "$data"
quietly dnf -q -y distro-sync "${names[@]}" || undo "dnf could not install PostgreSQL $TO"
systemctl daemon-reload
bash -c "$PACKAGES" || undo "PostgreSQL $TO was not installed"
bash -c "$CLUSTER" || undo "PostgreSQL $TO did not start"
[[ $(sql 'SHOW server_version_num') == "$TO"* ]] || undo "the server that was installed is not PostgreSQL $TO"

tell "restoring into PostgreSQL $TO"
as_postgres psql -qAtXw -v ON_ERROR_STOP=1 -d postgres -f - <"$WORK/globals.sql" >/dev/null || undo "PostgreSQL $TO did not take the roles"
sql "CREATE DATABASE \"$DATABASE\" OWNER \"$ROLE\" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0 CONNECTION LIMIT 0" || undo "PostgreSQL $TO did not make the database"
as_postgres pg_restore -j "$jobs" -w --exit-on-error -d "$DATABASE" "$WORK/dump/data" || undo "PostgreSQL $TO did not take the data"
tell "comparing"
survey >"$WORK/survey.new" || undo "the tables could not be read in PostgreSQL $TO"
diff "$WORK/survey" "$WORK/survey.new" >&2 || undo "PostgreSQL $TO does not have the same data"
[[ $(sql "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype || ' ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = $(literal "$DATABASE")") == "$shape" ]] ||
  undo "the database has another collation or owner in PostgreSQL $TO"
# The planner knows nothing of the new tables.
quietly as_postgres vacuumdb --analyze-only -w -j "$jobs" -d "$DATABASE" || undo "the tables could not be analyzed"
# What is the default by now is not lost.
{
  settings
  sql "SELECT name || ' = ' || setting FROM pg_settings"
} >"$WORK/settings.new"
rules >"$WORK/rules.new"
tables=$(grep -cvE '^(sequence|relations|constraints|functions|triggers)\|' "$WORK/survey")
rows=$(awk -F'|' '!/^(sequence|relations|constraints|functions|triggers)\|/ { sum += $2 } END { printf "%d", sum }' "$WORK/survey")
dump=$(du -sb "$WORK/dump" | cut -f1)

tell "starting Synapse"
sync -f "$data"
let_in "$(remembered limit)" >/dev/null || undo "the database could not be opened to Synapse"
touch "$WORK/equal"
sync -f "$WORK"
start_synapse || {
  rm -f "$WORK/equal"
  undo "Synapse does not answer with PostgreSQL $TO"
}
served=$SECONDS
mapfile -t lost < <(comm -23 <(sort "$WORK/settings") <(sort "$WORK/settings.new"))
mapfile -t lost_rules < <(comm -23 "$WORK/rules" "$WORK/rules.new")
finish
tell "PostgreSQL $TO has all data: $rows rows in $tables tables, equal to what PostgreSQL $from had; $(megabytes "$size") MB, a dump of $(megabytes "$dump") MB, in $((SECONDS - began)) s, of which nobody was served for $((served - stopped)) s"
tell "the data of PostgreSQL $from are still in $old ($(du -sh "$old" | cut -f1)): remove that folder when you are content, with 'rm -rf $old'"
for line in "${lost[@]}"; do tell "note: postgresql.conf had '$line', which the new one has not: set it there, where you want it"; done
for line in "${lost_rules[@]}"; do tell "note: pg_hba.conf had the rule '$line', which the new one has not: add it there, where you want it"; done
