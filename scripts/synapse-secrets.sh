#!/usr/bin/env bash
# The secrets that Synapse reads from files of their own, so that its configuration can be shown to anybody.
set -euo pipefail
: "${FOLDER:?}" "${USER_NAME:?}" "${REGISTRATION_SHARED_SECRET:?}" "${MACAROON_SECRET_KEY:?}" "${FORM_SECRET:?}" "${DATABASE_PASSWORD:?}"

umask 077
put() { # NAME TEXT
  local new=$FOLDER/.$1.new
  printf '%s\n' "$2" >"$new"
  chown "$USER_NAME:$USER_NAME" "$new"
  sync "$new"
  mv -fT "$new" "$FOLDER/$1"
}

put registration_shared_secret "$REGISTRATION_SHARED_SECRET"
put macaroon_secret_key "$MACAROON_SECRET_KEY"
put form_secret "$FORM_SECRET"
put pgpass "*:*:*:*:$(pgpass_field "$DATABASE_PASSWORD")"
