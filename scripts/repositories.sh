#!/usr/bin/env bash
# Makes sure that the machine's package repositories are ones that still exist, and answers as JSON which of the versions that
# Synapse can be run with they have.
# Nothing of it can differ later.
set -euo pipefail
: "${VAULT_URL?server that has what the mirrors of CentOS gave up; empty for a system whose mirrors are alive}"
: "${PYTHONS:?command=package}" "${POSTGRESQL_STREAMS:?}" "${NGINX_STREAMS:?}" # in order of preference, separated by blanks

# The tests have machines that lie in a folder.
root=${machine_root:-}

# repoint FILE: the file with the vault in place of CentOS's own mirrors, which is all that it touches. What was there stays as
# a comment, so that the next run finds the path again and a new vault takes the place of the old one.
repoint() {
  awk -v vault="${VAULT_URL%/}" -v mark="# Set by matrix-homeserver, because CentOS's mirrors have given this up:" '
    function flush(   i, line, dead, path, foreign, last) {
      for (i = 1; i <= n; i++) {
        line = lines[i]
        if (line == mark) { dead = 1; i++; continue }
        if (line ~ /^(mirrorlist *= *https?:\/\/mirrorlist|baseurl *= *https?:\/\/mirror)\.centos\.org\//) dead = 1
        else if (line ~ /^baseurl *=/) foreign = 1
        if (line ~ /^#? *baseurl *= *https?:\/\/mirror\.centos\.org\//) {
          path = line
          sub(/^.*\/\/mirror\.centos\.org\//, "", path)
          last = i
        }
      }
      for (i = 1; i <= n; i++) {
        line = lines[i]
        if (!dead || (path == "" && !foreign)) { print line; continue }
        if (line == mark) { i++; continue }
        print (line ~ /^(mirrorlist *= *https?:\/\/mirrorlist|baseurl *= *https?:\/\/mirror)\.centos\.org\// ? "#" : "") line
        if (i == last && !foreign) print mark "\nbaseurl=" vault "/" path
      }
      n = 0
    }
    /^\[/ { flush() }
    { lines[++n] = $0 }
    END { flush() }
  ' "$1"
}

if [[ -n $VAULT_URL ]]; then
  for file in "$root"/etc/yum.repos.d/CentOS-*.repo; do
    [[ -e $file ]] || continue
    # Beside it under a name that dnf does not read, with owner, mode and label.
    cp -a "$file" "$file.new"
    repoint "$file" >"$file.new"
    if cmp -s "$file" "$file.new"; then
      rm "$file.new"
      continue
    fi
    [[ -e $file.before-matrix-homeserver ]] || cp -a "$file" "$file.before-matrix-homeserver"
    mv -fT "$file.new" "$file"
    say "CentOS's mirrors have given this system up: $(basename "$file") names $VAULT_URL now; as it was, it is in $(basename "$file").before-matrix-homeserver"
  done
fi

ask_dnf() {
  local answer status=0
  answer=$(timeout 300 dnf -q -y "$@" 2>&1 </dev/null) || status=$?
  ((status == 0)) || {
    printf '%s\n' "$answer" | tail -n 30 >&2
    ((status != 124)) || fail "dnf gave no answer within 300 s: when another dnf holds its lock, let it finish or end it (ps -C dnf); else check that the machine's repositories can be reached ('dnf repolist -v')"
    [[ -z $VAULT_URL ]] ||
      fail "dnf cannot read the machine's repositories (see above): check that the machine reaches $VAULT_URL, or set host.vaultUrl to a server that has the old releases of CentOS, too; then run pulumi up again"
    fail "dnf cannot read the machine's repositories (see above): check that they can be reached ('dnf repolist -v'), then run pulumi up again"
  }
  printf '%s\n' "$answer"
}

# first_of WHAT HAS WANTED...: the first of WANTED that is among the lines of HAS.
first_of() {
  local what=$1 has=${2//$'\n'/ } wanted
  shift 2
  for wanted in "$@"; do
    if [[ " $has " == *" $wanted "* ]]; then
      printf '%s\n' "$wanted"
      return
    fi
  done
  fail "the machine's repositories have none of the $what that Synapse can be run with here ($*), but ${has:-none at all}: enable the repository that has one ('dnf repolist --all'; on EL it is AppStream), then run pulumi up again"
}

# pick MODULE STREAM...
pick() {
  local module=$1
  shift
  first_of "$module streams" "$(awk -v module="$module" '$1 == module { print $2 }' <<<"$modules")" "$@"
}

read -ra pythons <<<"$PYTHONS"
read -ra postgresql <<<"$POSTGRESQL_STREAMS"
read -ra nginx <<<"$NGINX_STREAMS"
python_package=${pythons[0]#*=} postgresql_stream=${postgresql[0]} nginx_stream=${nginx[0]}
# What leaves no choice is not asked about: it is in use already, or installing it says what is wrong.
if ((${#postgresql[@]} > 1 || ${#nginx[@]} > 1)); then modules=$(ask_dnf module list); fi
if ((${#postgresql[@]} > 1)); then postgresql_stream=$(pick postgresql "${postgresql[@]}"); fi
if ((${#nginx[@]} > 1)); then nginx_stream=$(pick nginx "${nginx[@]}"); fi
if ((${#pythons[@]} > 1)); then
  packages=$(ask_dnf repoquery --qf '%{name}' "${pythons[@]#*=}" | sort -u)
  python_package=$(first_of "Python packages" "$packages" "${pythons[@]#*=}")
fi
for python in "${pythons[@]}"; do
  [[ ${python#*=} != "$python_package" ]] || break
done

say "taking ${python%%=*}, PostgreSQL $postgresql_stream and nginx $nginx_stream"
printf '{"python":"%s","pythonPackage":"%s","postgresqlStream":"%s","nginxStream":"%s"}\n' \
  "${python%%=*}" "$python_package" "$postgresql_stream" "$nginx_stream"
