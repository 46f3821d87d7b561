#!/usr/bin/env bash
# Answers with the stream of a dnf module that is to be used: the one in use, else the first wanted one that the machine's repositories have.
# Nothing of it can differ later.
set -euo pipefail
: "${MODULE:?}" "${STREAMS:?space-separated, in order of preference}"

file=/etc/dnf/modules.d/$MODULE.module
if grep -qsx 'state *= *enabled' "$file"; then
  sed -n 's/^stream *= *//p' "$file"
  exit 0
fi
list() { timeout 300 dnf -q -y "$@" module list "$MODULE" 2>&1 </dev/null; }
modules=$(list || list --refresh) || {
  printf '%s\n' "$modules" | tail -n 30 >&2
  fail "dnf cannot tell which streams of the module $MODULE there are (see above): check that the machine's repositories can be reached ('dnf repolist -v'), then run pulumi up again"
}
for stream in $STREAMS; do
  if awk -v module="$MODULE" -v stream="$stream" '$1 == module && $2 == stream { found = 1 } END { exit !found }' <<<"$modules"; then
    printf '%s\n' "$stream"
    exit 0
  fi
done
fail "the machine's repositories have none of the streams of the module $MODULE that will do ($STREAMS): enable the repository that has one ('dnf repolist --all'; on EL it is AppStream), then run pulumi up again"
