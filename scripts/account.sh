#!/usr/bin/env bash
# Registers the administrator, or gives the one who exists the stack's password when that has changed. In between the
# password is the administrator's own to change.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${LOCALPART:?}" "${USER_ID:?}" "${PASSWORD:?}" "${CONFIG:?}" "${BIN:?folder of Synapse commands}" "${SYNAPSE_URL:?}"
: "${RUN_AS:?}" "${HOME_FOLDER:?}" "${DATABASE:?how libpq reaches it}"

# What was set last, as a salted hash: the password itself is in the stack and nowhere else.
mark=/etc/matrix-homeserver/admin-password
is_set() {
  local salt
  [[ -s $mark ]] || return 1
  salt=$(cut -d'$' -f3 "$mark")
  [[ $(openssl passwd -6 -salt "$salt" -stdin <<<"$PASSWORD") == "$(cat "$mark")" ]]
}
set_mark() {
  (umask 077 && openssl passwd -6 -stdin <<<"$PASSWORD" >"$mark.new")
  mv -fT "$mark.new" "$mark"
}

if looking; then
  is_set || differs account "$USER_ID" "$mark does not say that it has the password of the stack"
  exit 0
fi

as_service() { runuser -u "$RUN_AS" -- "$@"; }

passfile=$(mktemp /run/matrix-homeserver.XXXXXX)
trap 'rm -f "$passfile"' EXIT
printf '%s' "$PASSWORD" >"$passfile"
chown "$RUN_AS" "$passfile"

# It says "already exists" and succeeds when there is one.
answer=$(as_service "$BIN/register_new_matrix_user" --config "$CONFIG" --user "$LOCALPART" --password-file "$passfile" --admin --exists-ok "$SYNAPSE_URL" 2>&1) || {
  printf '%s\n' "$answer" | tail -n 5 >&2
  fail "Synapse refused to register the administrator $USER_ID (its answer is above)"
}

if [[ $answer == *"already exists"* ]] && ! is_set; then
  say "setting the password of $USER_ID"
  hash=$(as_service "$BIN/hash_password" -c "$CONFIG" <<<"$PASSWORD" | tail -n 1)
  [[ $hash == \$2* ]] || fail "Synapse could not make a hash of the administrator's password"
  updated=$(
    cd "$HOME_FOLDER" && as_service psql -qAtXw -v ON_ERROR_STOP=1 "$DATABASE" <<SQL
UPDATE users SET password_hash = $(literal "$hash"), admin = 1 WHERE name = $(literal "$USER_ID") RETURNING 'updated';
SQL
  ) || fail "the database refused to change the password of $USER_ID: see /var/lib/pgsql/data/log on the machine"
  [[ $updated == updated ]] || fail "Synapse says that $USER_ID exists, but the database has no such account"
fi
is_set || set_mark
