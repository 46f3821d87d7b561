#!/usr/bin/env bash
# From a bare machine to a homeserver that a client has used: the lab's Pulumi, a throw-away host, `pulumi up`, and a proof.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/lib.sh"
  . "$here/host/machine.sh"
}
readonly stack=dev
started=$SECONDS

require_root "make lab"
cd "$(lab_root)"
"$here/setup.sh"
# shellcheck source=/dev/null
. "$here/env"
"$here/lab.sh" up "$stack"
# A host that was made anew knows nothing of what the state says.
host=$(cat .lab/hosts/$stack/seed/meta-data)
if [ "$host" != "$(cat .lab/state/$stack.host 2>/dev/null)" ]; then
  pulumi stack rm "$stack" --yes --force --preserve-config >/dev/null 2>&1 || true
  pulumi stack init "$stack" >/dev/null
  printf '%s\n' "$host" >.lab/state/$stack.host
fi
pulumi stack select "$stack"

say "pulumi up..."
pulumi up --stack "$stack" --yes --skip-preview --non-interactive >&2
say "asking as a client would..."
pulumi stack output --stack "$stack" --json --show-secrets | node_modules/.bin/tsx lab/client/prove.ts
say "done in $((SECONDS - started)) s. Look around with:
  . lab/env                  this shell gets the lab's own Pulumi; then:
  pulumi preview             what a change would do
  pulumi stack output        where the server is, and what to do next
  lab/lab.sh ssh $stack         log in to the host
  make lab-down              end the host and remove every trace"
