#!/usr/bin/env bash
# run.sh [WHAT]: runs a measurement, bench/WHAT.ts, and ends whatever it started, also when it is interrupted. Without WHAT, lists
# what there is to measure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
{
  . "$here/../lab/lib.sh"
  . "$here/../lab/host/machine.sh"
  . "$here/../lab/host/cgroup.sh"
  . "$here/../test/started.sh"
}

main() {
  local what=${1:-} program
  cd "$(lab_root)"
  if [ -z "$what" ]; then
    for program in bench/*.ts; do
      [[ $program == bench/lib* ]] || printf '  make bench WHAT=%-18s %s\n' "$(basename "$program" .ts)" "$(sed -n 's|^// ||p;1q' "$program")"
    done
    return
  fi
  [ -f "bench/$what.ts" ] || die "there is no measurement '$what': 'make bench' lists them."
  require_root "make bench"
  lab/setup.sh
  begin_run "b$$"
  trap clean_up EXIT
  run_apart grouped node_modules/.bin/tsx "bench/$what.ts"
  [ "$run_status" = 0 ]
}

clean_up() {
  local status=$?
  end_run || status=1
  exit "$status"
}

main "$@"
