#!/usr/bin/env bash
# Registers an account. One that exists gets the password with RESET alone, and not when MARK says that it was set last: in between
# it is its owner's own to change.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${LOCALPART:?}" "${USER_ID:?}" "${PASSWORD:?}" "${ADMIN:?yes or no}" "${RESET:?yes or no}" "${MARK?file, or empty}"
: "${CONFIG:?}" "${BIN:?folder of Synapse commands}" "${SYNAPSE_URL:?}" "${RUN_AS:?}"

# A salted hash: the password itself is in the stack and nowhere else.
is_set() {
  local salt
  [[ -s $MARK ]] || return 1
  salt=$(cut -d'$' -f3 "$MARK")
  [[ $(openssl passwd -6 -salt "$salt" -stdin <<<"$PASSWORD") == "$(cat "$MARK")" ]]
}
set_mark() {
  (umask 077 && openssl passwd -6 -stdin <<<"$PASSWORD" >"$MARK.new")
  mv -fT "$MARK.new" "$MARK"
}

if looking; then
  is_set || differs account "$USER_ID" "$MARK does not say that it has the password of the stack"
  exit 0
fi

curl -sf -o /dev/null --max-time 10 "$SYNAPSE_URL/health" ||
  fail "Synapse does not answer at $SYNAPSE_URL, and $USER_ID was left as it is: see 'systemctl status synapse' on the machine"
as_service() { runuser -u "$RUN_AS" -- "$@"; }

passfile=$(mktemp /run/matrix-homeserver.XXXXXX)
trap 'rm -f "$passfile"' EXIT
printf '%s' "$PASSWORD" >"$passfile"
chown "$RUN_AS" "$passfile"

[[ $ADMIN == yes ]] && kind=--admin || kind=--no-admin
# It says "already exists" and succeeds when there is one.
answer=$(as_service "$BIN/register_new_matrix_user" --config "$CONFIG" --user "$LOCALPART" --password-file "$passfile" "$kind" --exists-ok "$SYNAPSE_URL" 2>&1) || {
  printf '%s\n' "$answer" | tail -n 5 >&2
  fail "Synapse refused to register $USER_ID (its answer is above)"
}

# On standard input: the hash. Synapse's own commands can register people, but not this.
set_hash='
import psycopg2, sys, yaml
config, user, admin = sys.argv[1:]
with open(config) as file:
    arguments = yaml.safe_load(file)["database"]["args"]
database = psycopg2.connect(**{name: value for name, value in arguments.items() if not name.startswith("cp_")})
with database, database.cursor() as cursor:
    cursor.execute(
        "UPDATE users SET password_hash = %s, admin = CASE WHEN %s THEN 1 ELSE admin END WHERE name = %s AND deactivated = 0",
        (sys.stdin.readline().rstrip("\n"), admin == "yes", user),
    )
    print(cursor.rowcount)
'
if [[ $answer == *"already exists"* ]]; then
  [[ $RESET == yes ]] || fail "there is an account $USER_ID already, and it was left as it is: RESET=yes gives it another password"
  if ! is_set; then
    say "setting the password of $USER_ID"
    hash=$(as_service "$BIN/hash_password" -c "$CONFIG" <<<"$PASSWORD" | tail -n 1)
    [[ $hash == \$2* ]] || fail "Synapse could not make a hash of the password of $USER_ID"
    updated=$(as_service "$BIN/python" -c "$set_hash" "$CONFIG" "$USER_ID" "$ADMIN" <<<"$hash") ||
      fail "the database refused to change the password of $USER_ID (see above)"
    [[ $updated == 1 ]] || fail "the account $USER_ID was deactivated, which nothing undoes here: choose another name"
  fi
fi
[[ -z $MARK ]] || is_set || set_mark
