#!/usr/bin/env bash
# user.sh: makes the account NAME on the homeserver of the stack STACK, with a password that it prints. ADMIN=yes: an administrator's.
# RESET=yes: the account may exist, and gets the new password then. A stack's settings that lie elsewhere are named by CONFIG_FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local example="make user STACK=prod NAME=alice" server_name name password reset=no admin=no
  begin "$example" pulumi ssh openssl
  [[ -n ${NAME:-} ]] || die "name the account: $example"
  server_name=$(setting serverName)
  [[ -n $server_name ]] || die "the stack $stack has no server name (serverName), or does not exist."
  name=${NAME#@}
  name=${name%":$server_name"}
  [[ $name =~ ^[a-z0-9._=/+-]+$ ]] ||
    die "NAME is what a user id has before the colon, lower-case letters, digits and any of ._=/+-, and not '$NAME'; for example: $example"
  [[ ${RESET:-} != yes ]] || reset=yes
  [[ ${ADMIN:-} != yes ]] || admin=yes
  prepare_ssh
  on_machine test -d "$HOME_FOLDER/env/bin" ||
    die "the machine cannot be reached (see above), or has no Synapse yet: run 'pulumi up --stack $stack' first."

  # 80 bits, in what every keyboard has.
  password=$(openssl rand -hex 10)
  compose account.sh "LOCALPART=$name" "USER_ID=@$name:$server_name" "PASSWORD=$password" "ADMIN=$admin" "RESET=$reset" MARK= \
    "CONFIG=$HOME_FOLDER/homeserver.yaml" "BIN=$HOME_FOLDER/env/bin" SYNAPSE_URL=http://127.0.0.1:8008 RUN_AS=synapse |
    as_root "bash -s" || exit 1
  printf '%s\n%s\n' "@$name:$server_name" "$password"
}

HOME_FOLDER=/opt/synapse

main "$@"
