#!/usr/bin/env bash
# The user-data of a lab host comes from the same component that makes a cloud machine's: by a small Pulumi program of its
# own (lab/user-data), with a stack a host. To be sourced.

# render_user_data NAME USER PUBLIC_KEY FOLDER: writes the program's outputs to FOLDER/outputs.json.
render_user_data() (
  name=$1 user=$2 public_key=$3 folder=$4
  root=$(lab_root)
  lab=$(lab_dir)
  require_toolchain "$root" "$lab"
  # With the host's processes: an update that is interrupted may leave some of Pulumi's behind.
  cgroup_join "$name"
  # shellcheck source=/dev/null
  . "$root/lab/env"
  # Apart from the state of the user's stacks: it comes and goes with the host.
  mkdir -p "$folder"
  export PULUMI_BACKEND_URL=file://$folder
  mkdir -p "$lab/user-data"
  cat >"$(stack_config "$name")" <<CONFIG
config:
  matrix-lab-user-data:name: $name
  matrix-lab-user-data:loginUser: $user
  matrix-lab-user-data:authorizedKey: $public_key
CONFIG
  cd "$root/lab/user-data" || exit
  {
    pulumi stack init "$name" --non-interactive &&
      pulumi up --stack "$name" --yes --skip-preview --non-interactive
  } >"$folder/log" 2>&1 || {
    cat "$folder/log" >&2
    die "the user-data of the lab host $name could not be rendered (see above)."
  }
  pulumi stack output --stack "$name" --json --show-secrets >"$folder/outputs.json"
)

require_toolchain() {
  [ -d "$1/node_modules/@pulumi/pulumi" ] || die "the project's packages are not installed: run 'npm ci' in $1 first."
  [ -x "$2/toolchain/bin/pulumi" ] || "$1/lab/toolchain/install.sh" >&2
  compgen -G "$2/pulumi-home/plugins/resource-cloudinit-v*" >/dev/null || "$1/lab/toolchain/plugins.sh" >&2
}

stack_config() {
  printf '%s/user-data/Pulumi.%s.yaml\n' "$(lab_dir)" "$1"
}

remove_stack_config() {
  rm -f "$(stack_config "$1")"
  rmdir --ignore-fail-on-non-empty "$(lab_dir)/user-data" 2>/dev/null || true
}
