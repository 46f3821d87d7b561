#!/usr/bin/env bash
# adopt.sh: gives the stack STACK the settings to take over the homeserver that was built by hand on its machine, and shows what
# pulumi up would do then. A stack that does not exist is made; what is asked then can be answered beforehand, as for new-stack.sh.
# The machine is only looked at. CONFIG is homeserver.yaml's path, where the running Synapse does not say; ACME_EMAIL lets a new
# certificate be had from Let's Encrypt. A stack's settings that lie elsewhere are named by CONFIG_FILE. See docs/adopt.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local example="make adopt STACK=prod"
  begin "$example" pulumi ssh ssh-keyscan npx
  [[ $stack =~ ^[A-Za-z0-9_.-]+$ ]] || die "name the stack: $example"
  if [[ -z $(setting host.address) ]]; then
    [[ ! -e ${CONFIG_FILE:-Pulumi.$stack.yaml} ]] || die "the stack $stack names no machine (host.address): set it, or give a new stack another name."
    ask_for_machine ""
    make_stack
  fi
  prepare_ssh

  printf 'Looking at %s…\n' "$address"
  # In a pipe, because there are secrets in it.
  compose adopt-read.sh "CONFIG=${CONFIG:-}" | as_root "bash -s" | STACK=$stack npx tsx tools/adopt.ts ||
    die "the stack $stack does not take over this server (see above); nothing was changed on it."
  printf '\nWrote the settings of the stack %s. What pulumi up would do:\n' "$stack"
  pulumi preview --stack "$stack" ${CONFIG_FILE:+--config-file "$CONFIG_FILE"} --non-interactive
  printf 'Look at that, and take a backup of the machine. Then: pulumi up --stack %s\n' "$stack"
}

main "$@"
