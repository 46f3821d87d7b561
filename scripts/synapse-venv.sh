#!/usr/bin/env bash
# One release of Synapse in a virtual environment of its own, beside whichever is running.
set -euo pipefail
: "${RELEASE:?folder of the release}" "${LINK:?to the release in use}" "${PYTHON:?}" "${REQUIREMENTS:?}" "${VERSION:?}" "${USER_NAME:?}" "${INDEX_URL?}" "${NO_BINARY?}"

# A first release is in use from the start; which of several is, is for the service's activation to say.
first_link() { [[ -e $LINK ]] || ln -sfnT "$RELEASE" "$LINK"; }

if [[ -e $RELEASE/.complete ]]; then
  first_link
  exit 0
fi

# Nobody's own pip settings may reach into a locked installation.
as_user() { runuser -u "$USER_NAME" -- env HOME="$(dirname "$RELEASE")" PIP_CONFIG_FILE=/dev/null "$@"; }

# Without its mark a release is what an interrupted run left; nothing can be running from it.
rm -rf "$RELEASE"
install -d -o "$USER_NAME" -g "$USER_NAME" "$(dirname "$RELEASE")"
quietly as_user "$PYTHON" -m venv "$RELEASE" || fail "$PYTHON could not make a virtual environment in $RELEASE"

options=(--require-hashes --no-cache-dir --disable-pip-version-check --no-input --timeout 30 --retries 5)
if [[ -n $NO_BINARY ]]; then
  options+=(--no-binary "$NO_BINARY")
else
  options+=(--only-binary :all:)
fi
if [[ -n $INDEX_URL ]]; then
  options+=(--index-url "$INDEX_URL")
  # Every file is checked against a hash in the lock, so that an index without TLS can refuse to serve, but not deceive.
  if [[ $INDEX_URL == http://* ]]; then
    authority=${INDEX_URL#http://}
    options+=(--trusted-host "${authority%%/*}")
  fi
fi
say "installing Synapse $VERSION"
quietly as_user "$RELEASE/bin/pip" install "${options[@]}" --requirement "$REQUIREMENTS" ||
  fail "pip could not install Synapse $VERSION: check that the machine can reach the package index (${INDEX_URL:-the public one; set synapse.indexUrl for a mirror}), then run pulumi up again"

installed=$(as_user "$RELEASE/bin/python" -c 'import psycopg2, synapse; print(synapse.__version__)') ||
  fail "the new environment in $RELEASE cannot import Synapse and its PostgreSQL driver"
[[ $installed == "$VERSION" ]] || fail "$REQUIREMENTS installs Synapse $installed, and synapse.version asks for $VERSION"

sync -f "$RELEASE"
as_user touch "$RELEASE/.complete"
first_link
