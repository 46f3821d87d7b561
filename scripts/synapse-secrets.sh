#!/usr/bin/env bash
# The secrets that Synapse reads from files of their own, so that its configuration can be shown to anybody.
set -euo pipefail
: "${FOLDER:?}" "${USER_NAME:?}" "${REGISTRATION_SHARED_SECRET:?}" "${MACAROON_SECRET_KEY:?}" "${FORM_SECRET:?}" "${DATABASE_PASSWORD:?}"

put() { # NAME TEXT
  write_as "$USER_NAME" 0600 "$FOLDER/$1" <<<"$2"
}

put registration_shared_secret "$REGISTRATION_SHARED_SECRET"
put macaroon_secret_key "$MACAROON_SECRET_KEY"
put form_secret "$FORM_SECRET"
put pgpass "*:*:*:*:$(pgpass_field "$DATABASE_PASSWORD")"
