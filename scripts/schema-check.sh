#!/usr/bin/env bash
# Asks the database which releases can still work with it. Synapse's own answer comes only once the old one was stopped.
# Nothing of it can differ later.
set -euo pipefail
: "${RELEASE:?}" "${VERSION:?}" "${RUN_AS:?}" "${HOME_FOLDER:?}" "${DATABASE:?how libpq reaches it}" "${OTHERWISE:?the sentence when it does not let Synapse in}"

cd "$HOME_FOLDER"
sql() { runuser -u "$RUN_AS" -- psql -qAtXw -v ON_ERROR_STOP=1 "$DATABASE" -c "$1" || fail "$OTHERWISE; nothing was changed"; }

# A new database has no schema, and takes any.
[[ $(sql "SELECT to_regclass('schema_compat_version') IS NOT NULL") == t ]] || exit 0
wanted=$(sql 'SELECT compat_version FROM schema_compat_version')
has=$(runuser -u "$RUN_AS" -- "$RELEASE/bin/python" -c 'from synapse.storage.schema import SCHEMA_VERSION; print(SCHEMA_VERSION)') ||
  fail "Synapse $VERSION in $RELEASE does not say which database schema it knows"
((has >= wanted)) ||
  fail "Synapse $VERSION cannot read this database any more: a newer release has moved it to schema $wanted, and $VERSION knows $has. Set synapse.version back to the newer release, which is still serving, or restore a backup from before the upgrade"
