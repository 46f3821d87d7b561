#!/usr/bin/env bash
# The secrets that Synapse reads from files of their own, so that its configuration can be shown to anybody.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${FOLDER:?}" "${USER_NAME:?}" "${REGISTRATION_SHARED_SECRET:?}" "${MACAROON_SECRET_KEY:?}" "${FORM_SECRET:?}" "${DATABASE_PASSWORD:?}"

secret_file "$USER_NAME" "$FOLDER/registration_shared_secret" "$REGISTRATION_SHARED_SECRET"
secret_file "$USER_NAME" "$FOLDER/macaroon_secret_key" "$MACAROON_SECRET_KEY"
secret_file "$USER_NAME" "$FOLDER/form_secret" "$FORM_SECRET"
secret_file "$USER_NAME" "$FOLDER/pgpass" "*:*:*:*:$(pgpass_field "$DATABASE_PASSWORD")"
