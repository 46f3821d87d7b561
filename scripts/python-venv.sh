#!/usr/bin/env bash
# A Python program in a virtual environment of its own, from hash-locked requirements, beside whichever release of it is
# in use.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${RELEASE:?folder of the release}" "${LINK:?to the release in use}" "${PYTHON:?}" "${REQUIREMENTS:?}" "${USER_NAME:?}"
: "${IN_USE_AT_ONCE:?true: it is in use when it is whole, and earlier ones go}" "${INDEX_URL?}" "${NO_BINARY?}" "${UV:?lock of uv}" "${TITLE:?what a person calls it}" "${PROBE:?Python code that fails when it is not what it should be}"

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

as_user() { runuser -u "$USER_NAME" -- env HOME="$(dirname "$RELEASE")" "$@"; }

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
# uv and what it unpacks: on the release's own file system, so that files are linked and not copied, and gone with the installation.
tools=$RELEASE/.installing
as_user mkdir -p "$tools"

reach="check that the machine can reach the package index (${INDEX_URL:-the public one; set synapse.indexUrl for a mirror}), then run pulumi up again"
index=${INDEX_URL:-https://pypi.org/simple/}

# Every file is checked against a hash in a lock, so that an index without TLS can refuse to serve, but not deceive.
insecure=
if [[ $index == http://* ]]; then
  authority=${index#http://}
  authority=${authority%%/*}
  insecure=${authority##*@}
fi

# Python keeps a pip for the environments that it makes: to unpack it takes a twentieth of the time of installing it there.
stored_pip() {
  local bundled
  bundled=$("$PYTHON" -Ic 'import ensurepip; print(*ensurepip.__path__)')/_bundled
  { find /usr/share/python*-wheels "$bundled" -name 'pip-*.whl' -printf '%f %p\n' 2>/dev/null || true; } | sort -rV | sed -n '1s/^[^ ]* //p'
}
pip=$(stored_pip)
[[ -n $pip ]] || fail "$PYTHON brings no pip for virtual environments: see 'rpm -V $PYTHON-libs' on the machine"
as_user "$PYTHON" -I -m zipfile -e "$pip" "$tools/pip"
printf '%s' "$UV" | write_as "$USER_NAME" 0644 "$tools/uv.txt"
# Nobody's own settings may reach into a locked installation.
quietly as_user env PIP_CONFIG_FILE=/dev/null PYTHONPATH="$tools/pip" "$PYTHON" -m pip --isolated install --target "$tools/uv" --requirement "$tools/uv.txt" --require-hashes \
  --only-binary :all: --index-url "$index" ${insecure:+--trusted-host "$insecure"} --no-compile --no-cache-dir --disable-pip-version-check \
  --no-input --timeout 30 --retries 5 ||
  fail "uv, which installs $TITLE, could not be downloaded: $reach"

for setting in $(compgen -e UV_); do unset "$setting"; done
export UV_HTTP_TIMEOUT=30 UV_HTTP_RETRIES=5
uv() { quietly as_user "$tools/uv/bin/uv" --no-config --cache-dir "$tools/cache" --no-python-downloads "$@"; }
uv venv --no-project --allow-existing --python "$PYTHON" "$RELEASE" || fail "$PYTHON could not make a virtual environment in $RELEASE"

# The machine's own authorities, as those of a mirror may be.
options=(--python "$RELEASE/bin/python" --require-hashes --system-certs --default-index "$index" ${insecure:+--allow-insecure-host "$insecure"})
if [[ -n $NO_BINARY ]]; then
  for package in ${NO_BINARY//,/ }; do options+=(--no-binary "$package"); done
else
  options+=(--only-binary :all:)
fi
say "installing $TITLE"
uv pip install "${options[@]}" --requirement "$REQUIREMENTS" || fail "uv could not install $TITLE: $reach"
# Its lock could be written to by everybody.
rm -rf "$tools" "$RELEASE/.lock"

# Not what nobody runs: tests, what only builds packages, and where in the world a telephone number is. Files that are no Python of this
# version are passed over.
as_user "$RELEASE/bin/python" -m compileall -q -j 0 -x '/tests?/|/twisted/trial/|/setuptools/|/geodata/' "$RELEASE/lib" >/dev/null 2>&1 </dev/null || true

quietly probe || fail "the new environment in $RELEASE is not what $REQUIREMENTS should have made (see above)"

sync -f "$RELEASE"
as_user touch "$RELEASE/.complete"
take_into_use
