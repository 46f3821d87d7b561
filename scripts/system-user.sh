#!/usr/bin/env bash
# A system account that nobody can log in to, with its home folder.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${USER_NAME:?}" "${HOME_FOLDER:?}" "${FOLDERS?space-separated, in the home folder}"

getent group "$USER_NAME" >/dev/null || change account "$USER_NAME" "its group is missing" quietly groupadd --system "$USER_NAME"
getent passwd "$USER_NAME" >/dev/null ||
  change account "$USER_NAME" "it is missing" \
    quietly useradd --system --gid "$USER_NAME" --home-dir "$HOME_FOLDER" --no-create-home --shell /sbin/nologin "$USER_NAME"
IFS=: read -r _ _ _ _ _ home shell < <(getent passwd "$USER_NAME") || exit 0
[[ $home == "$HOME_FOLDER" ]] ||
  change account "$USER_NAME" "its home is $home and should be $HOME_FOLDER" \
    fail "the account $USER_NAME already exists with another home than $HOME_FOLDER: change it with 'usermod --home $HOME_FOLDER $USER_NAME'"
[[ $shell == /sbin/nologin ]] ||
  change account "$USER_NAME" "its shell is $shell and should be /sbin/nologin" quietly usermod --shell /sbin/nologin "$USER_NAME"
folder() { # PATH MODE
  local how="it is missing"
  [[ ! -d $1 ]] || how=$(attributes "$1" "$USER_NAME:$USER_NAME" "$2")
  [[ -z $how ]] || change folder "$1" "$how" install -d -m "$2" -o "$USER_NAME" -g "$USER_NAME" "$1"
}
folder "$HOME_FOLDER" 0755
for name in $FOLDERS; do
  folder "$HOME_FOLDER/$name" 0750
done
