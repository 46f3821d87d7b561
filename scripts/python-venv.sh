#!/usr/bin/env bash
# A Python program in a virtual environment of its own, from hash-locked requirements, beside whichever release of it is
# in use.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${RELEASE:?folder of the release}" "${LINK:?to the release in use}" "${PYTHON:?}" "${REQUIREMENTS:?}" "${USER_NAME:?}"
: "${IN_USE_AT_ONCE:?true: it is in use when it is whole, and earlier ones go}" "${INDEX_URL?}" "${NO_BINARY?}" "${TITLE:?what a person calls it}" "${PROBE:?Python code that fails when it is not what it should be}"

# A first release is in use from the start; which of several is, may be for others to say.
take_into_use() {
  if [[ $IN_USE_AT_ONCE == true ]]; then
    ln -sfnT "$RELEASE" "$LINK.new"
    mv -fT "$LINK.new" "$LINK"
    find "$(dirname "$RELEASE")" -mindepth 1 -maxdepth 1 ! -path "$RELEASE" -exec rm -rf {} +
  elif [[ ! -e $LINK ]]; then
    ln -sfnT "$RELEASE" "$LINK"
  fi
}

# Nobody's own pip settings may reach into a locked installation.
as_user() { runuser -u "$USER_NAME" -- env HOME="$(dirname "$RELEASE")" PIP_CONFIG_FILE=/dev/null "$@"; }

# -B: a look must not leave compiled files.
probe() { as_user "$RELEASE/bin/python" -B -c "$PROBE"; }
works() { [[ -e $RELEASE/.complete ]] && probe >/dev/null 2>&1; }
if looking; then
  if ! works; then
    differs program "$TITLE" "what is in $RELEASE does not work"
  elif [[ $IN_USE_AT_ONCE == true && $(readlink "$LINK") != "$RELEASE" ]]; then
    differs program "$TITLE" "$LINK does not name $RELEASE"
  fi
  exit 0
fi
if works; then
  take_into_use
  exit 0
fi

# Without its mark a release is what an interrupted run left. One that fails its probe cannot be made worse: what runs from it has
# what it needs in memory.
rm -rf "$RELEASE"
as_user mkdir -p "$(dirname "$RELEASE")"
quietly as_user "$PYTHON" -m venv "$RELEASE" || fail "$PYTHON could not make a virtual environment in $RELEASE"

options=(--require-hashes --no-compile --no-cache-dir --disable-pip-version-check --no-input --timeout 30 --retries 5)
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
# EL8's pip for Python 3.9 is 20.2, which does not know wheels that name a C library (manylinux_2_28), as most are today: then
# one that does comes first. The last for Python 3.9.
pip_for_old='pip==26.0.1 --hash=sha256:bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b'
if as_user "$RELEASE/bin/python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) >= (20, 3))'; then
  printf '%s\n' "$pip_for_old" | write_as "$USER_NAME" 0644 "$RELEASE/pip.txt"
  quietly as_user "$RELEASE/bin/pip" install "${options[@]}" --requirement "$RELEASE/pip.txt" ||
    fail "pip could not install a newer pip: check that the machine can reach the package index (${INDEX_URL:-the public one; set synapse.indexUrl for a mirror}), then run pulumi up again"
fi
say "installing $TITLE"
quietly as_user "$RELEASE/bin/pip" install "${options[@]}" --requirement "$REQUIREMENTS" ||
  fail "pip could not install $TITLE: check that the machine can reach the package index (${INDEX_URL:-the public one; set synapse.indexUrl for a mirror}), then run pulumi up again"

# pip would compile on one processor, and what nobody runs, too: tests, and where in the world a telephone number is. Like pip, this
# passes over files that are no Python of this version.
as_user "$RELEASE/bin/python" -m compileall -q -j 0 -x '/tests?/|/geodata/' "$RELEASE/lib" >/dev/null 2>&1 </dev/null || true

quietly probe || fail "the new environment in $RELEASE is not what $REQUIREMENTS should have made (see above)"

sync -f "$RELEASE"
as_user touch "$RELEASE/.complete"
take_into_use
