#!/usr/bin/env bash
# Looks at a database that somebody else keeps, as Synapse will see it, before Synapse is touched.
# Nothing of it can differ later.
set -euo pipefail
: "${DATABASE:?how libpq reaches it, with $PASSFILE for the password file}" "${PASSWORD:?}"

passfile=$(mktemp /run/matrix-homeserver.XXXXXX)
trap 'rm -f "$passfile"' EXIT
printf '*:*:*:*:%s\n' "$(pgpass_field "$PASSWORD")" >"$passfile"
sql() { psql -qAtXw -v ON_ERROR_STOP=1 "connect_timeout=10 ${DATABASE//\$PASSFILE/$passfile}" -c "$1"; }

quietly sql 'SELECT 1' ||
  fail "the database does not let Synapse in (its answer is above): check database.host, port, name, user, tlsMode and ca, dbPassword, and on its server pg_hba.conf and the firewall"

version=$(sql 'SHOW server_version_num')
((version >= 130000)) || fail "the database server is PostgreSQL $((version / 10000)), and Synapse needs 14 or newer (13 up to Synapse 1.142): upgrade it"

shape=$(sql "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype FROM pg_database WHERE datname = current_database()")
[[ $shape == "UTF8 C C" ]] ||
  fail "the database has the encoding, collation and ctype '$shape', and Synapse needs 'UTF8 C C': make it with CREATE DATABASE … ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"

rights=$(sql "SELECT has_schema_privilege(current_schema(), 'CREATE') AND has_database_privilege(current_database(), 'CONNECT, TEMPORARY')")
[[ $rights == t ]] || fail "the role may not make tables in the database: run ALTER DATABASE … OWNER TO … (or GRANT ALL ON SCHEMA public) on its server"
