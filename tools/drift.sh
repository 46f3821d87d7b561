#!/usr/bin/env bash
# drift.sh: names all on the machine of the stack STACK that is not as the stack says, by one login, and changes nothing. Ends with 0
# when there is nothing, 2 when there is something, 1 when it could not be looked at. NAMES is a file that gets the names of the
# resources that would have to run again. A stack's settings that lie elsewhere are named by CONFIG_FILE. See docs/drift.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  begin "make drift STACK=prod" pulumi ssh node
  prepare_ssh
  # The state with its secrets goes from program to program, and onto no disk.
  pulumi stack export --stack "$stack" --show-secrets | drift program | as_root 'bash -s' >"$work/answer" ||
    die "the machine of the stack $stack could not be looked at (see above)."
  if [[ -n ${NAMES:-} ]]; then drift names <"$work/answer" >"$NAMES"; fi
  drift report "$stack" <"$work/answer"
}

drift() { node_modules/.bin/tsx tools/drift.ts "$@"; }

main "$@"
