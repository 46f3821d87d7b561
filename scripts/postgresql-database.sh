#!/usr/bin/env bash
# The role and the database that Synapse uses, in the one encoding and collation that Synapse accepts.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${ROLE:?}" "${DATABASE:?}" "${SOCKET_FOLDER:?}" "${PASSWORD:?}"

role=$(literal "$ROLE") database=$(literal "$DATABASE") password=$(literal "$PASSWORD")

# A statement that fails is logged with its text: the password must not be in one.
make_role() {
  postgres_sql <<SQL || fail "PostgreSQL refused to make the role $ROLE: see /var/lib/pgsql/data/log on the machine"
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';
SET standard_conforming_strings = on;
SELECT format('CREATE ROLE %I', $role) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $role) \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L', $role, $password) \gexec
SQL
}
make_database() {
  postgres_sql <<SQL || fail "PostgreSQL refused to make the database $DATABASE: see /var/lib/pgsql/data/log on the machine"
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C'' TEMPLATE template0', $database, $role)
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $database) \gexec
SQL
}
owner() { postgres_sql -c "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $database"; }
# Whether the role owns all that is in the database, so that nobody else's is taken.
holds_all() {
  [[ $(postgres_sql -d "$DATABASE" -c "SELECT count(*) > 0 AND bool_and(pg_get_userbyid(relowner) = $role) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == t ]]
}
take_database() { postgres_sql -v database="$DATABASE" -v role="$ROLE" <<<'ALTER DATABASE :"database" OWNER TO :"role"'; }
# The login that Synapse will make, so that a wrong pg_hba.conf is found here and not at Synapse's start.
log_in() {
  passfile=$(mktemp /run/matrix-homeserver.XXXXXX)
  trap 'rm -f "$passfile"' EXIT
  printf '*:*:*:*:%s\n' "$(pgpass_field "$PASSWORD")" >"$passfile"
  PGPASSFILE=$passfile psql -h "$SOCKET_FOLDER" -U "$ROLE" -d "$DATABASE" -qAtXwc 'SELECT 1'
}
look_at_role() {
  case $(postgres_sql -c "SELECT rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole) FROM pg_roles WHERE rolname = $role") in
  # A refusal that does not speak of the password comes from pg_hba.conf, which is its cluster's to tell.
  t) [[ $(log_in 2>&1) != *"password authentication failed"* ]] || differs database "role $ROLE" "its password is another one" ;;
  f) differs database "role $ROLE" "it may do more or less than log in" ;;
  *) differs database "role $ROLE" "it is missing" ;;
  esac
}

quietly postgresql_answers ||
  fail "PostgreSQL on this machine is down, or does not answer (its words are above): run 'systemctl start postgresql' there, and see 'journalctl -u postgresql' when it does not start; then run pulumi up again"
if looking; then
  [[ -n $(owner) ]] || lost "the database $DATABASE" "it is missing"
  look_at_role
else
  make_role
  make_database
fi

if [[ $(owner) != "$ROLE" ]] && holds_all; then change database "database $DATABASE" "its owner is $(owner) and should be $ROLE" take_database; fi
shape=$(postgres_sql -c "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype || ' ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = $database")
looking || [[ $shape == "UTF8 C C $ROLE" ]] ||
  fail "the database $DATABASE already exists with encoding, collation, ctype and owner '$shape', and Synapse needs 'UTF8 C C $ROLE': dump it, make it anew so, and restore it, or name another database"
looking || quietly log_in ||
  fail "the role $ROLE cannot log in to the database $DATABASE by the socket in $SOCKET_FOLDER with its password: look for a line in /var/lib/pgsql/data/pg_hba.conf that comes before this program's own"
