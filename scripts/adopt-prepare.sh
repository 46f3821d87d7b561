#!/usr/bin/env bash
# Makes a server that was built by hand fit to be taken over, while it goes on working: its account gets the files, and this
# program finds the signing key and the environment where it looks for them.
# Nothing of it can differ later.
set -euo pipefail
: "${ENVIRONMENT:?virtual environment of the old server}" "${ADOPTED:?where that is after the take-over}" "${LINK:?to the release in use}"
: "${SIGNING_KEY:?}" "${MEDIA_STORE:?}" "${SERVER_NAME:?}" "${HOME_FOLDER:?}" "${USER_NAME:?}" "${WORK:?folder for what was there before}"

# Since the take-over the link names a release of this program's, until that is destroyed.
if [[ -L $LINK && $(readlink "$LINK") != "$ADOPTED" ]] || [[ ! -e $LINK && ! -e $ADOPTED && -e $WORK/prepared ]]; then exit 0; fi

[[ -x $ENVIRONMENT/bin/python || -x $ADOPTED/bin/python ]] ||
  fail "there is no virtual environment in $ENVIRONMENT (adopt.environment): start the old server, then run make adopt again"
install -d -m 0711 "$WORK"
[[ -e $LINK ]] || ln -sfnT "$ADOPTED" "$LINK"

key=$HOME_FOLDER/$SERVER_NAME.signing.key
# A copy, because the old server may be started again.
if [[ ! -s $key ]]; then
  [[ -s $SIGNING_KEY ]] || fail "there is no signing key in $SIGNING_KEY (adopt.signingKey), and without it the server would be another to all others: run make adopt again"
  write_as "$USER_NAME" 0600 "$key" <"$SIGNING_KEY"
fi
chown -h "$USER_NAME:$USER_NAME" "$key"
chmod 0600 "$key"

# It runs as root or as this account, and either can go on with files of this account's.
if [[ -d $MEDIA_STORE ]]; then chown -RhH "$USER_NAME:$USER_NAME" "$MEDIA_STORE"; fi
touch "$WORK/prepared"
