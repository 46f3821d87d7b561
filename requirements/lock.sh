#!/usr/bin/env bash
# lock.sh VERSION [PYTHON]: pins what a release of Synapse needs, with the hashes of every file, for Python PYTHON
# (3.10 when not said) and newer. Writes synapse-VERSION.txt, which wheels alone satisfy, and
# synapse-VERSION.source.txt, the same with psycopg2 for those who build that on the host, as its authors advise.
# lock.sh certbot|s3cmd [PYTHON]: likewise pins the newest certbot or s3cmd, in certbot.txt or s3cmd.txt.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lab/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# What the wheels must run on: EL8's C library is 2.28.
readonly pythons=(3.9 3.10 3.11 3.12 3.13) machines=(x86_64 aarch64) platform=manylinux_2_28

main() {
  version=${1:-} python=${2:-3.10}
  if [[ ! $version =~ ^([0-9]+\.[0-9]+\.[0-9]+(rc[0-9]+)?|certbot|s3cmd)$ || $# -gt 2 ]]; then
    die "usage: requirements/lock.sh VERSION|certbot|s3cmd [PYTHON], for example: requirements/lock.sh 1.163.2"
  fi
  if [[ " ${pythons[*]} " != *" $python "* ]]; then
    die "$python is none of the Python versions that the lock is checked for: ${pythons[*]}."
  fi

  tool=$(cached uv "$(hash_inputs "$here/uv.txt")" install_uv)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT

  case $version in
    certbot | s3cmd) lock_program ;;
    *) lock_synapse ;;
  esac
}

lock_program() {
  say "resolving $version for Python $python and newer..."
  resolve "$work/lock" <<<"$version"
  check_all
  write "$version" "$work/lock" "$version.txt" "$version"
}

lock_synapse() {
  local driver holds wanted
  # With what its settings may ask for: workers, single sign-on, link previews.
  wanted="matrix-synapse[redis,oidc,jwt,url-preview]==$version"
  say "resolving Synapse $version for Python $python and newer..."
  # What does not work with Synapse, whose older releases do not say so; and what register_new_matrix_user needs, which those
  # releases took for granted, because treq needed it, too.
  holds=('txredisapi<1.6' requests)
  if is_older "$version" 1.147; then holds+=('prometheus-client<0.24'); fi
  printf '%s\n' "$wanted" psycopg2-binary "${holds[@]}" |
    resolve "$work/lock"
  # The same version of both, or versions: each Python may have one of its own.
  driver=$(sed -n 's/^psycopg2-binary==\(.*\) \\$/psycopg2==\1/p' "$work/lock")
  printf '%s\n' "$wanted" "$driver" "${holds[@]}" |
    resolve "$work/lock.source" --constraint "$work/lock"
  check_all
  write "Synapse $version" "$work/lock" "synapse-$version.txt" "$version"
  write "Synapse $version" "$work/lock.source" "synapse-$version.source.txt" "$version"
}

is_older() {
  [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# A wheel directory that this machine's pip is told to look in would hide what the index has.
install_uv() {
  say "installing uv, which resolves the requirements..."
  python3 -I -m venv "$1" ||
    die "python3 cannot make a virtual environment; install python3 and python3-venv."
  env -u PIP_FIND_LINKS "$1/bin/python" -I -m pip install --quiet --only-binary :all: --require-hashes --requirement "$here/uv.txt"
}

# resolve TARGET [OPTION...]: the requirements come on stdin. An older release may be all that an older
# Python gets; a newer Python has the newest all the same.
resolve() {
  local target=$1
  shift
  compile --generate-hashes --no-annotate --no-header --output-file "$work/all" "$@" -
  leave_out_other_systems "$work/all" >"$target"
}

compile() {
  uv pip compile --quiet --universal --python-version "$python" --only-binary :all: --no-binary psycopg2 "$@"
}

# leave_out_other_systems LOCK: four of five hashes are of wheels that no EL8 can run, and each of them would be in the state
# of every stack. That format has the names of the files with the hashes, a file a line.
leave_out_other_systems() {
  local others=$work/others
  compile --no-deps --format pylock.toml --output-file "$work/pylock.toml" "$1"
  sed -nE 's|.*/([^/"]+\.whl)", .*sha256 = "([0-9a-f]{64})".*|\2 \1|p' "$work/pylock.toml" | sed -E "/$(runs_here)/d; s/ .*//" >"$others"
  # A package with nothing left is for other systems as a whole. The backslashes go and come again, for the last hash has none.
  sed 's/ \\$//' "$1" | awk -v others="$others" '
    BEGIN { while ((getline hash <others) > 0) other["--hash=sha256:" hash] }
    /^[^ ]/ { package = $0; next }
    $1 in other { next }
    package != "" { if (before != "") print before; before = package; package = "" }
    { print before " \\"; before = $0 }
    END { print before }'
}

# What the name of a wheel ends with that one of these Pythons can run on one of these machines.
runs_here() {
  local tags machine
  tags=$(printf '%s|' "${pythons[@]/#3./cp3}") machine=$(printf '%s|' "${machines[@]}")
  printf -- '-(any|((%s)-(%s)|cp3[0-9]+-abi3|py[0-9py.]+-none)-[^-]*manylinux[^-]*_(%s))[.]whl$' "${tags%|}" "${tags%|}" "${machine%|}"
}

check_all() {
  local candidate
  for candidate in "${pythons[@]}"; do
    if [ "$(printf '%s\n' "$python" "$candidate" | sort -V | head -n 1)" = "$python" ]; then
      check "$candidate"
    fi
  done
}

# Whether a host with that Python gets everything as a wheel: only then does it need no compiler.
check() {
  local python=$1 machine
  for machine in "${machines[@]}"; do
    say "checking that there are wheels for Python $python on $machine..."
    uv pip install --quiet --dry-run --target "$work/none" --python-version "$python" \
      --python-platform "$machine-$platform" --only-binary :all: --require-hashes --requirement "$work/lock" ||
      die "not every requirement has a wheel for Python $python on $machine; nothing was written."
  done
}

# write WHAT LOCK FILE ARGUMENT: beside the target and then renamed, for half a lock would install half of it.
write() {
  {
    printf '# What %s needs on Python %s and newer; every file by its hash.\n' "$1" "$python"
    printf '# Made by: make lock VERSION=%s PYTHON=%s\n' "$4" "$python"
    cat "$2"
  } >"$here/$3.partial"
  mv "$here/$3.partial" "$here/$3"
  say "wrote requirements/$3"
}

# This machine's configuration files are left out; a mirror can be named in the environment.
uv() {
  "$tool/bin/uv" --no-config "$@"
}

main "$@"
