#!/usr/bin/env bash
# A system account that nobody can log in to, with its home folder.
set -euo pipefail
: "${USER_NAME:?}" "${HOME_FOLDER:?}" "${FOLDERS?space-separated, in the home folder}"

getent group "$USER_NAME" >/dev/null || quietly groupadd --system "$USER_NAME"
getent passwd "$USER_NAME" >/dev/null ||
  quietly useradd --system --gid "$USER_NAME" --home-dir "$HOME_FOLDER" --no-create-home --shell /sbin/nologin "$USER_NAME"
[[ $(getent passwd "$USER_NAME" | cut -d: -f6) == "$HOME_FOLDER" ]] ||
  fail "the account $USER_NAME already exists with another home than $HOME_FOLDER: change it with 'usermod --home $HOME_FOLDER $USER_NAME'"
install -d -m 0755 -o "$USER_NAME" -g "$USER_NAME" "$HOME_FOLDER"
for folder in $FOLDERS; do
  install -d -m 0750 -o "$USER_NAME" -g "$USER_NAME" "$HOME_FOLDER/$folder"
done
