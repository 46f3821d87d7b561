#!/usr/bin/env bash
# backups.sh: lists the backups of the stack STACK, newest first: those on its machine, those in its store, and how the last one went. A
# stack's settings that lie elsewhere are named by CONFIG_FILE. See docs/backup.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  begin "make backups STACK=prod" pulumi ssh
  prepare_ssh
  directory=$(setting backup.directory /var/backups/matrix-homeserver)
  as_root "bash -s" <<SCRIPT || die "the machine could not be asked, or its store does not answer (see above)."
echo "on the machine:"
find '$directory' -maxdepth 1 -name '*Z.tar.gpg' -printf '%s %p\\n' 2>/dev/null | sort -rk2
if [ -x $STORE_PROGRAM ]; then
  echo "in the store:"
  $STORE_PROGRAM list </dev/null || exit
fi
echo "the last one:"
cat /etc/matrix-homeserver/last-backup 2>/dev/null || echo "there was none yet"
SCRIPT
}

main "$@"
