#!/usr/bin/env bash
# postgresql-upgrade.sh: brings the PostgreSQL on the machine of the stack STACK to the major version TO, with its data, and sets
# host.postgresqlVersion in the stack. Only CHECK=yes: says what is in the way. See docs/postgresql.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  begin "make postgresql-upgrade STACK=prod TO=16" pulumi ssh
  to=${TO:-}
  [[ $to =~ ^[1-9][0-9]$ ]] || die "TO is a major version of PostgreSQL, such as 16, and not '$to'."
  [[ -z $(setting database.host) ]] || die "the database of the stack $stack is elsewhere (database.host): its own administrator upgrades it there."
  prepare_ssh
  on_machine true || die "the machine cannot be reached (see above): check host.address, host.user and host.hostKey."

  local words=''
  [[ ${CHECK:-} != yes ]] || words=check
  # It goes on to its end when the connection is lost: what it says is also in a file on the machine.
  program_text | as_root "bash -o pipefail -c 'trap \"\" HUP PIPE; install -d -m 0755 $DATA && cat >$PROGRAM.new && mv -fT $PROGRAM.new $PROGRAM && bash $PROGRAM $words </dev/null 2>&1 | tee -p $DATA/postgresql-upgrade.log'" ||
    die "PostgreSQL was not upgraded (see above; where the connection was lost, $DATA/postgresql-upgrade.log on the machine says more)."
  [[ -z $words ]] || exit 0
  pulumi config set --stack "$stack" ${CONFIG_FILE:+--config-file "$CONFIG_FILE"} --path host.postgresqlVersion "$to"
  printf 'host.postgresqlVersion is %s now in the settings of the stack. Now: pulumi up --stack %s, which restarts nothing.\n' "$to" "$stack"
}

DATA=/var/lib/matrix-homeserver
PROGRAM=$DATA/postgresql-upgrade.sh
ROLE=synapse
DATABASE=synapse

program_text() {
  compose postgresql-upgrade.sh "TO=$to" "ROLE=$ROLE" "DATABASE=$DATABASE" "WORK=$DATA/postgresql-upgrade" STATE=/etc/matrix-homeserver \
    "STACK=$(sed -n 's/^name: //p' Pulumi.yaml)/$stack" HEALTH_URL=http://127.0.0.1:8008/health \
    "PACKAGES=$(compose packages.sh "MODULES=postgresql:$to" "PACKAGES=postgresql-server postgresql" GROUPS_WANTED=)" \
    "CLUSTER=$(compose postgresql-cluster.sh "ROLE=$ROLE" "DATABASE=$DATABASE")"
}

main "$@"
