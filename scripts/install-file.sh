#!/usr/bin/env bash
# install-file OWNER:GROUP MODE TARGET [CHECK [CHECK_IN_PLACE]]: puts standard input in place of TARGET, or leaves TARGET as
# it was. CHECK is a shell command that finds the new file at $file and fails when it is not fit for use; CHECK_IN_PLACE
# judges it where it belongs, when nothing else can.
set -euo pipefail
umask 077

owner=$1 mode=$2 target=$3 check=${4:-} check_in_place=${5:-}
name=$(basename "$target")
# Beside the target, so that the rename below stays on one file system and is atomic; under the target's own name, because
# validators such as systemd-analyze judge a file by it.
stage="$(dirname "$target")/.$name.staged"

# Also for a run that was cut off while its file was in place and not yet found good.
clear_stage() {
  if [[ -e $stage/unproven ]]; then
    if [[ -e $stage/old ]]; then mv -fT "$stage/old" "$target"; else rm -f "$target"; fi
  fi
  rm -rf "$stage"
}
put_in_place() {
  mv -fT "$file" "$target"
  if command -v selinuxenabled >/dev/null && selinuxenabled; then restorecon -F "$target"; fi
}
refuse() {
  printf '%s\n' "$output" | tail -n 30 >&2
  printf 'error: the new %s is not valid (see above); the old one was left in place\n' "$target" >&2
  exit 1
}

# A full disk is the one thing that a file which is fit for use can meet.
no_room() {
  printf 'error: there is no room for %s on the machine (see above; %s), so the old one was left in place: free some space, then run pulumi up again\n' \
    "$target" "$(df --output=avail,target -BM "$1" | awk 'NR > 1 { print $2 " has " $1 + 0 " MB free" }')" >&2
  exit 1
}

(umask 022 && mkdir -p "$(dirname "$target")") || no_room /
# An update that was cut off may still be at work here.
exec 8<"$(dirname "$target")"
flock -w 120 8 || {
  printf 'error: somebody else has been writing %s for two minutes: run pulumi up again\n' "$target" >&2
  exit 1
}
clear_stage
trap clear_stage EXIT
export file="$stage/$name"
{ mkdir "$stage" && cat >"$file"; } || no_room "$(dirname "$target")"
chown "$owner" "$file"
chmod "$mode" "$file"
if [[ -n $check ]]; then
  # The command may run as the account that will read the file.
  chmod 0711 "$stage"
  output=$(bash -euo pipefail -c "$check" 2>&1 </dev/null) || refuse
fi
sync "$file"
if [[ -n $check_in_place ]]; then
  # A copy and not a move, so that there is a file at every moment.
  [[ ! -e $target ]] || cp -a "$target" "$stage/old"
  touch "$stage/unproven"
  put_in_place
  output=$(bash -euo pipefail -c "$check_in_place" 2>&1 </dev/null) || refuse
  rm "$stage/unproven"
else
  put_in_place
fi
