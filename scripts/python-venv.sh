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

# get_uv INDEX LOCK TARGET. No pip is needed for it, which would have to be installed first and takes longer.
get_uv=$(
  cat <<'END'
import base64, gzip, hashlib, html, io, os, re, sys, time, zipfile
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

index, lock, target = sys.argv[1:]
version = re.search(r"^uv==(\S+)", lock, re.M)[1]
machine = os.uname().machine
# For the C library of EL8, by the name that it has on this kind of machine.
wheel = re.compile(rf"uv-{re.escape(version)}-py3-none-manylinux_2_\d+_{machine}(\.manylinux\w+)?\.whl")

def get(url):
    place = urlsplit(url)
    request = Request(place._replace(netloc=place.netloc.rpartition("@")[2]).geturl())
    request.add_header("Accept", "text/html, */*;q=0.1")
    request.add_header("Accept-Encoding", "gzip")
    if place.username:
        login = f"{unquote(place.username)}:{unquote(place.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    for delay in (0.25, 0.5, 1, 2, None):
        try:
            with urlopen(request, timeout=30) as answer:
                body = answer.read()
                return gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body
        except OSError as error:
            if delay is None:
                sys.exit(f"{request.full_url}: {error}")
            time.sleep(delay)

page = index.rstrip("/") + "/uv/"
for link in re.findall(r"""<a\b[^>]*\bhref=["']([^"']+)""", get(page).decode()):
    url = urljoin(page, html.unescape(link))
    if wheel.fullmatch(unquote(urlsplit(url).path.rpartition("/")[2])):
        break
else:
    sys.exit(f"the index has no wheel of uv {version} for {machine}")
archive = get(url)
if "sha256:" + hashlib.sha256(archive).hexdigest() not in lock:
    sys.exit(f"the wheel of uv {version} that the index has is not the one that was locked")
with open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o700), "wb") as program:
    program.write(zipfile.ZipFile(io.BytesIO(archive)).read(f"uv-{version}.data/scripts/uv"))
END
)
quietly as_user "$PYTHON" -I -c "$get_uv" "$index" "$UV" "$tools/uv" ||
  fail "uv, which installs $TITLE, could not be downloaded: $reach"

# Nobody's own settings may reach into a locked installation.
for setting in $(compgen -e UV_); do unset "$setting"; done
export UV_HTTP_TIMEOUT=30 UV_HTTP_RETRIES=5
uv() { quietly as_user "$tools/uv" --no-config --cache-dir "$tools/cache" --no-python-downloads "$@"; }
uv venv --no-project --allow-existing --python "$PYTHON" "$RELEASE" || fail "$PYTHON could not make a virtual environment in $RELEASE"

# The machine's own authorities, as those of a mirror may be.
options=(--python "$RELEASE/bin/python" --require-hashes --system-certs --default-index "$index")
# Every file is checked against a hash in the lock, so that an index without TLS can refuse to serve, but not deceive.
if [[ $index == http://* ]]; then
  authority=${index#http://}
  authority=${authority%%/*}
  options+=(--allow-insecure-host "${authority##*@}")
fi
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
