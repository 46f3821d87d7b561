#!/usr/bin/env bash
# Looks at the machine for tools/drift.sh and changes nothing. Answers with a line a finding: resource, kind, name, how it
# differs, the difference (base64), separated by tabs; the last line is "end".
set -euo pipefail
: "${RESOURCES:?a line each: number|name|file, secret-file, script or unknown}" # and for each TEXT_number, CREATE_number

# What the files should be, for those that compare with it; in memory, root's alone.
LOOK_WANTED=$(mktemp -d /run/matrix-homeserver.XXXXXX)
trap 'rm -rf "$LOOK_WANTED"' EXIT
export LOOK LOOK_WANTED
exec 3>&1

each_resource() {
  local number kind text create
  while IFS='|' read -r number LOOK kind; do
    text=TEXT_$number create=CREATE_$number
    "$1" "$kind" "${!text}" "${!create}"
  done <<<"$RESOURCES"
}

# file_words COMMAND: owner, mode and path, as the command has them that puts the file there.
file_words() { eval "words=(${1#*/install-file }"$'\n)'; }

save_wanted() {
  [[ $1 == *file ]] || return 0
  file_words "$3"
  local wanted=$LOOK_WANTED${words[2]}
  (umask 077 && mkdir -p "$(dirname "$wanted")" && printf '%s' "$2" >"$wanted")
  [[ $1 != secret-file ]] || touch "$wanted.secret"
}

look() {
  local why
  case $1 in
  *file)
    file_words "$3"
    look_at_file "$LOOK_WANTED${words[2]}" "${words[2]}" "${words[0]}" "${words[1]}"
    ;;
  script)
    why=$(printf '%s' "$2" | timeout --kill-after=10 120 bash -s 2>&1 >/dev/null) ||
      differs unlooked "$LOOK" "$(grep '^error: ' <<<"$why" | tail -n 1 | cut -d ' ' -f 2- || printf 'it took too long')"
    ;;
  unknown) differs unlooked "$LOOK" "it was deployed by an earlier version of this program: run pulumi up" ;;
  esac
}

each_resource save_wanted
each_resource look
printf 'end\n'
