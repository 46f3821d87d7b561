#!/usr/bin/env bash
# The role and the database that Synapse uses, in the one encoding and collation that Synapse accepts.
set -euo pipefail
: "${ROLE:?}" "${DATABASE:?}" "${PASSWORD:?}"

sql() { runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 "$@"; }

role=$(literal "$ROLE") database=$(literal "$DATABASE") password=$(literal "$PASSWORD")

# A statement that fails is logged with its text: the password must not be in one.
sql <<SQL || fail "PostgreSQL refused to make the role $ROLE: see /var/lib/pgsql/data/log on the machine"
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';
SET standard_conforming_strings = on;
SELECT format('CREATE ROLE %I', $role) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $role) \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L', $role, $password) \gexec
SQL

sql <<SQL || fail "PostgreSQL refused to make the database $DATABASE: see /var/lib/pgsql/data/log on the machine"
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C'' TEMPLATE template0', $database, $role)
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $database) \gexec
SQL

shape=$(sql -c "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype || ' ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = $database")
[[ $shape == "UTF8 C C $ROLE" ]] ||
  fail "the database $DATABASE already exists with encoding, collation, ctype and owner '$shape', and Synapse needs 'UTF8 C C $ROLE': dump it, make it anew so, and restore it, or name another database"

# The login that Synapse will make, so that a wrong pg_hba.conf is found here and not at Synapse's start.
passfile=$(mktemp /run/matrix-homeserver.XXXXXX)
trap 'rm -f "$passfile"' EXIT
printf '*:*:*:*:%s\n' "$(pgpass_field "$PASSWORD")" >"$passfile"
PGPASSFILE=$passfile quietly psql -h 127.0.0.1 -U "$ROLE" -d "$DATABASE" -qAtXwc 'SELECT 1' ||
  fail "the role $ROLE cannot log in to the database $DATABASE over 127.0.0.1 with its password: look for a line in /var/lib/pgsql/data/pg_hba.conf that comes before this program's own"
