#!/usr/bin/env bash
# Lints every shell script of the repository, each in the shell that it is for.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$(lab_root)"
need_tools shellcheck=shellcheck
mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run lab/env 'lab/rpms/files/**' |
  while IFS= read -r file; do
    if [ -f "$file" ] && [ ! -L "$file" ] && { [[ $file == *.sh || $file == lab/env ]] || head -n 1 "$file" | grep -q '^#!.*sh'; }; then
      printf '%s\n' "$file"
    fi
  done)
# The scripts that run on the host get lib.sh's functions put in front of them.
shellcheck --external-sources --exclude=SC2154 "${files[@]}"
