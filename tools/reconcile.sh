#!/usr/bin/env bash
# reconcile.sh: looks at the machine of the stack STACK, notes in the stack's setting `reconcile` what differs there, and runs pulumi
# up, which runs just these resources again. YES=yes does not ask. A stack's settings that lie elsewhere are named by CONFIG_FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local status=0 stamp name names settings=()
  begin "make reconcile STACK=prod" pulumi
  NAMES=$work/names tools/drift.sh || status=$?
  ((status == 0 || status == 2)) || exit "$status"
  mapfile -t names <"$work/names"
  ((${#names[@]})) || exit "$status"

  stamp=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  local options=(--stack "$stack" ${CONFIG_FILE:+--config-file "$CONFIG_FILE"})
  for name in "${names[@]}"; do settings+=(--plaintext "reconcile.$name=$stamp"); done
  pulumi config set-all "${options[@]}" --path "${settings[@]}" || die "the setting reconcile could not be written (see above)."
  pulumi up "${options[@]}" ${YES:+--yes}
}

main "$@"
