#!/usr/bin/env bash
# A running PostgreSQL whose database `DATABASE` takes password logins of `ROLE` from this machine. An existing cluster is kept.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${ROLE:?}" "${DATABASE:?}"

DATA=/var/lib/pgsql/data
# Stands while initdb runs: a cluster beside it was never finished, and holds nobody's data.
UNFINISHED=/var/lib/pgsql/.initdb-unfinished

[[ -s $DATA/PG_VERSION ]] || lost "$DATA" "there is no database cluster"
if ! looking && [[ -e $UNFINISHED ]]; then
  say "removing a half-made cluster that an interrupted run left behind"
  find "$DATA" -mindepth 1 -delete
fi
if [[ ! -s $DATA/PG_VERSION ]]; then
  [[ -z $(ls -A "$DATA" 2>/dev/null) ]] ||
    fail "$DATA is not empty but holds no PostgreSQL cluster: move what is in it elsewhere, then run pulumi up again"
  say "making the database cluster"
  touch "$UNFINISHED"
  PGSETUP_INITDB_OPTIONS="--encoding=UTF8 --locale=C --auth-host=scram-sha-256" quietly postgresql-setup --initdb ||
    fail "postgresql-setup could not make the cluster: see /var/lib/pgsql/initdb_postgresql.log on the machine"
  sync
fi
looking || rm -f "$UNFINISHED"

enabled postgresql
running postgresql quietly systemctl start postgresql ||
  fail "PostgreSQL did not start: see 'journalctl -u postgresql' and /var/lib/pgsql/data/log on the machine"
looking || wait_until 60 postgresql_answers ||
  fail "PostgreSQL runs but does not answer: see /var/lib/pgsql/data/log on the machine"

# pg_hba.conf's first match wins, and EL8's own rules go by the name of the account (peer, ident) and take no password: ours go first.
# Synapse comes by the socket; TCP is for an operator's own tools, and for an earlier configuration that is put back.
hba=$DATA/pg_hba.conf
rules() {
  printf '# BEGIN matrix-homeserver\n'
  printf 'local  %s  %s  scram-sha-256\n' "$DATABASE" "$ROLE"
  for address in 127.0.0.1/32 ::1/128; do
    printf 'host  %s  %s  %s  scram-sha-256\n' "$DATABASE" "$ROLE" "$address"
  done
  printf '# END matrix-homeserver\n'
  sed '/^# BEGIN matrix-homeserver$/,/^# END matrix-homeserver$/d' "$hba"
}
put_rules() {
  rules >"$hba.new"
  chown --reference="$hba" "$hba.new"
  chmod --reference="$hba" "$hba.new"
  mv -f "$hba.new" "$hba"
  quietly systemctl reload postgresql || fail "PostgreSQL did not reload its pg_hba.conf: see 'journalctl -u postgresql' on the machine"
}
cmp -s <(rules) "$hba" || change database "$hba" "the rules by which $ROLE logs in are not there as they should be" put_rules
