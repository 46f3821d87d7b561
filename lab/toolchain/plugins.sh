#!/usr/bin/env bash
# Gives the lab's Pulumi the provider plugins that the program uses: the official ones, or, where those cannot be
# fetched, the stand-ins of lab/plugins. They go into the lab's own PULUMI_HOME, where no other stack ever finds them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

root=$(lab_root)
lab=$(lab_dir)
readonly root lab home=$lab/pulumi-home
readonly pulumi=$lab/toolchain/bin/pulumi

main() {
  local wanted plugin sources reachable=
  [ -x "$pulumi" ] || die "the lab's Pulumi is not installed; run lab/toolchain/install.sh first."
  wanted=$(wanted_plugins)
  sources=$(hash_inputs "$root"/lab/plugins/*.ts "$root/package-lock.json" "${BASH_SOURCE[0]}")
  mkdir -p "$home/plugins"
  exec 9>"$lab/plugins.lock"
  flock 9
  # Under the lock, this can only be what a run that was cut off left.
  rm -rf "$home/making"

  for plugin in $wanted; do
    if ! is_installed "$plugin" "$sources"; then
      if [ -z "$reachable" ]; then reachable=$(are_official_reachable); fi
      if [ "$reachable" = no ] || ! install_official "$plugin"; then
        install_own "$plugin" "$sources"
      fi
    fi
  done
  report "$wanted"
}

# One NAME-vVERSION a word: the version that the engine asks for is the one of the SDK that the program loads.
wanted_plugins() {
  (
    cd "$root"
    # shellcheck disable=SC2016 # the dollars are JavaScript's
    node -p '["command", "random", "cloudinit"]
      .map((name) => `${name}-v${require(`@pulumi/${name}/package.json`).version}`).join(" ")' 2>/dev/null
  ) || die "the program's packages are not installed; run npm ci first."
}

folder_of() {
  printf '%s/plugins/resource-%s\n' "$home" "$1"
}

# A file beside a stand-in says what it was made from; an official plugin has none. The CLI's own mark of a download
# that was cut off counts too.
is_installed() {
  local folder
  folder=$(folder_of "$1")
  [ -x "$folder/pulumi-resource-${1%-v*}" ] && [ ! -e "$folder.partial" ] &&
    { [ ! -e "$folder/lab-sources" ] || [ "$(cat "$folder/lab-sources")" = "$2" ]; }
}

# Asked once for all, and first: where packets are dropped, the CLI's own retries last for minutes.
are_official_reachable() {
  if command -v curl >/dev/null &&
    curl --silent --head --output /dev/null --connect-timeout 5 --max-time 15 https://get.pulumi.com/; then
    echo yes
  else
    echo no
  fi
}

remove() {
  local folder
  folder=$(folder_of "$1")
  rm -rf "$folder" "$folder.partial" "$folder.lock"
}

install_official() {
  local name=${1%-v*}
  remove "$1"
  say "fetching the provider plugin $1..."
  PULUMI_HOME=$home PULUMI_SKIP_UPDATE_CHECK=true timeout 300 \
    "$pulumi" plugin install resource "$name" "${1##*-v}" >/dev/null 2>&1 9>&-
}

# In one file, so that it starts in a fraction of a second and does not depend on where the packages lie. The native
# add-ons of the SSH library are not needed: it does without them.
install_own() {
  local plugin=$1 name=${1%-v*} work=$home/making
  say "making the lab's stand-in for the provider plugin $plugin..."
  mkdir "$work"
  (cd "$root" && node_modules/.bin/esbuild "lab/plugins/$name.ts" --bundle --platform=node --target=node20 \
    --external:cpu-features '--external:*.node' --log-level=warning --outfile="$work/provider.js") 9>&- ||
    die "lab/plugins/$name.ts does not build, for the reason above."
  cat >"$work/pulumi-resource-$name" <<'WRAPPER'
#!/bin/sh
exec node "$(dirname "$0")/provider.js" "$@"
WRAPPER
  chmod 755 "$work/pulumi-resource-$name"
  printf '%s\n' "$2" >"$work/lab-sources"
  remove "$plugin"
  mv -T "$work" "$(folder_of "$plugin")"
}

report() {
  local plugin official='' own=''
  for plugin in $1; do
    if [ -e "$(folder_of "$plugin")/lab-sources" ]; then own+=" $plugin"; else official+=" $plugin"; fi
  done
  if [ -n "$official" ]; then say "using the official provider plugins:$official"; fi
  if [ -n "$own" ]; then say "using the lab's own stand-ins, for this lab only, for the provider plugins:$own"; fi
}

main "$@"
