#!/usr/bin/env bash
# The life of one lab host: made, booted, waited for, stopped, removed. To be sourced.
# shellcheck source-path=SCRIPTDIR source=names.sh
. "$(dirname "${BASH_SOURCE[0]}")/names.sh"

host_dir() {
  printf '%s/hosts/%s\n' "$(lab_dir)" "$1"
}

# host.json is written last, so that a host without it was never finished.
host_exists() {
  [ -f "$(host_dir "$1")/host.json" ]
}

host_fact() {
  jq -r --arg field "$2" '.[$field]' "$(host_dir "$1")/host.json"
}

client_key() {
  printf '%s/ssh/id_ed25519\n' "$(lab_dir)"
}

# The key that logs in to all lab hosts of this checkout. Made under another name and then renamed: two hosts may be made at once.
make_client_key() {
  local key
  key=$(client_key)
  [ ! -f "$key" ] || return 0
  install -d -m 700 "$(dirname "$key")"
  ssh-keygen -q -t ed25519 -N '' -C 'lab client' -f "$key.$$"
  # The private half says that the pair is whole.
  mv "$key.$$.pub" "$key.pub"
  mv "$key.$$" "$key"
}

# create_host NAME USER ADDRESS FLAVOUR DISK
create_host() {
  local name=$1 user=$2 address=$3 flavour=$4 disk=$5 dir rootfs
  dir=$(host_dir "$name")
  rootfs=$("$(lab_root)/lab/host/rootfs.sh" "$(suite_of "$flavour")")
  say "making the host $name: user-data by Pulumi..."
  rm -rf --one-file-system "$dir"
  install -d -m 700 "$dir" "$dir/seed"
  mkdir -p "$dir"/{lower,root} "$dir"/disk/{upper,work}
  if [ -n "${LAB_ROOTFS:-}" ]; then
    flavour=$(system_of "$rootfs")
  else
    put_flavour "$flavour" "$dir/disk/upper"
  fi
  if [ -n "$disk" ]; then make_disk "$dir" "$disk"; fi
  make_client_key
  render_user_data "$name" "$user" "$(cat "$(client_key).pub")" "$dir/user-data"
  (
    umask 077
    jq -j .userData "$dir/user-data/outputs.json" >"$dir/seed/user-data"
    # A name of its own for every host that was ever made: cloud-init would take an equal one for the same machine.
    printf 'instance-id: %s-%s\n' "$name" "$(cat /proc/sys/kernel/random/uuid)" >"$dir/seed/meta-data"
    printf 'network:\n  config: disabled\n' >"$dir/seed/network-config"
  )
  write_host_facts "$name" "$user" "$address" "$rootfs" "$flavour"
  rm "$dir/user-data/outputs.json"
}

# make_disk FOLDER SIZE: what the host writes gets a file system of that size. Its file takes what is written alone.
make_disk() {
  need_tools mkfs.ext4=e2fsprogs
  truncate -s "$2" "$1/disk.img"
  mkfs.ext4 -q -m 0 -d "$1/disk" "$1/disk.img"
}

write_host_facts() {
  local dir own=${LAB_ROOTFS:+yes}
  dir=$(host_dir "$1")
  jq --arg name "$1" --arg user "$2" --arg address "$3" --arg rootfs "$4" --arg key "$(client_key)" \
    --arg url "http://$machine_address:$port" --arg flavour "$5" --arg own "$own" \
    '{name: $name, address: $address, port: 22, user: $user, hostKey, privateKeyFile: $key, indexUrl: "\($url)/simple/",
      flavour: $flavour, rootfs: $rootfs, ownRootfs: ($own == "yes")}
      + (if $flavour | startswith("centos-") then {vaultUrl: "\($url)/vault"} else {repoUrl: "\($url)/el8/"} end)' \
    "$dir/user-data/outputs.json" >"$dir/host.json.new"
  write_known_hosts "$3" "$(jq -r .hostKey "$dir/host.json.new")" "$dir/known_hosts"
  mv "$dir/host.json.new" "$dir/host.json"
}

write_known_hosts() {
  printf '%s %s\n' "$1" "$2" >"$3"
}

# What a root file system of the user's own says that it is.
system_of() (
  # shellcheck source=/dev/null
  . "$1/etc/os-release"
  printf '%s %s\n' "$ID" "${VERSION_ID:-}"
)

# A host that was stopped may find its address taken.
move_host() {
  local dir
  dir=$(host_dir "$1")
  jq --arg address "$2" '.address = $address' "$dir/host.json" >"$dir/host.json.new"
  write_known_hosts "$2" "$(host_fact "$1" hostKey)" "$dir/known_hosts"
  mv "$dir/host.json.new" "$dir/host.json"
}

# What a host gets to see of this checkout: renewed whenever the host is asked for, so that it sees what changed.
publish_for() {
  local flavour index repository sources releases
  flavour=$(host_fact "$1" flavour)
  mapfile -t releases < <(synapse_of "$flavour")
  index=$("$(lab_root)/lab/index/build.sh" "${releases[@]}")
  sources=("$index")
  # A user's own root file system has repositories of its own.
  if [ "$(host_fact "$1" ownRootfs)" = false ]; then
    repository=$("$(lab_root)/lab/rpms/build.sh" "$(suite_of "$flavour")")
    sources+=("$repository")
  fi
  lock_machine
  network_up
  publish "$(host_fact "$1" address)" "${sources[@]}"
  unlock_machine
}

boot_host() {
  local name=$1 dir rootfs
  dir=$(host_dir "$name")
  rootfs=$(host_fact "$name" rootfs)
  [ -d "$rootfs" ] ||
    die "the root file system that the host $name was made from is gone from the cache ($rootfs): run 'lab/lab.sh down $name' and make it again."
  # What was left of a host that died.
  cgroup_kill "$name"
  (
    cgroup_join "$name"
    exec setsid "$(lab_root)/lab/host/boot.sh" "$dir"
  ) </dev/null >"$dir/console.log" 2>&1 7>&- 8>&- &
  boot_pid=$!
  # It is not this shell's to speak of.
  disown "$boot_pid"
  lock_machine
  register "$name" "$(host_fact "$name" address)" "$boot_pid"
  unlock_machine
}

# No configuration of the user's, no other key, and no other machine than this one.
ssh_command() {
  local name=$1
  ssh_words=(
    ssh -F none -i "$(host_fact "$name" privateKeyFile)" -p "$(host_fact "$name" port)" -o IdentitiesOnly=yes
    -o BatchMode=yes -o "UserKnownHostsFile=\"$(host_dir "$name")/known_hosts\"" -o GlobalKnownHostsFile=none
    -o StrictHostKeyChecking=yes -o LogLevel=ERROR -o ConnectTimeout=3
    "$(host_fact "$name" user)@$(host_fact "$name" address)"
  )
}

answers() {
  local ssh_words
  ssh_command "$1"
  "${ssh_words[@]}" true </dev/null >/dev/null 2>"$(host_dir "$1")/ssh.log"
}

# Until cloud-init is done and systemd has started all; else the reason, and what the console said last.
wait_for_host() {
  local name=$1 dir deadline=$((SECONDS + 180)) ssh_words state
  dir=$(host_dir "$name")
  ssh_command "$name"
  # Asked until there is an answer: cloud-init starts sshd anew when it has made its keys, so that the first login is no promise
  # of a second one. From 23.4 on, its 2 is for warnings.
  until state=$("${ssh_words[@]}" 'cloud-init status --wait >/dev/null 2>&1; echo $?' </dev/null 2>"$dir/ssh.log"); do
    if ! kill -0 "$boot_pid" 2>/dev/null; then
      tail -n 15 "$dir/console.log" >&2
      die "the host $name went off while it was booting (its console's last lines are above)."
    fi
    if [ "$SECONDS" -gt "$deadline" ]; then
      tail -n 15 "$dir/console.log" >&2
      die "the host $name did not let its user log in within three minutes: $(tail -n 1 "$dir/ssh.log") (its console's last lines are above)."
    fi
    sleep 0.2
  done
  if [ "$state" != 0 ] && [ "$state" != 2 ]; then
    "${ssh_words[@]}" 'cloud-init status --long' </dev/null >&2 || true
    die "cloud-init failed on the host $name (see above)."
  fi
  while
    state=$("${ssh_words[@]}" 'systemctl is-system-running' </dev/null 2>"$dir/ssh.log") || true
    { [ -z "$state" ] || [ "$state" = starting ]; } && [ "$SECONDS" -le "$deadline" ]
  do sleep 0.2; done
  if [ "$state" != running ]; then
    say "systemd on the host $name is '$state'; units that failed: $("${ssh_words[@]}" 'systemctl --failed --plain --no-legend' </dev/null | cut -d' ' -f1 | paste -sd ' ')"
  fi
}

# As its power button would; by force when it does not go off.
power_off() {
  local name=$1 pid
  pid=$(registered "$name" pid)
  if cgroup_is_populated "$name" && [ -n "$pid" ]; then
    kill -TERM "$pid" 2>/dev/null || true
    for _ in {1..300}; do
      cgroup_is_populated "$name" || break
      sleep 0.1
    done
  fi
  clear_processes "$name"
}

clear_processes() {
  cgroup_kill "$1"
  # What nspawn leaves when it is killed.
  rm -rf --one-file-system "/run/systemd/nspawn/propagate/mxlab-$1"
  rmdir --ignore-fail-on-non-empty /run/systemd/nspawn/{propagate,locks,} 2>/dev/null || true
}

# The host keeps its disk, and gives up its address.
leave_machine() {
  local name=$1 address
  lock_machine
  address=$(registered "$name" address)
  [ -z "$address" ] || rm -rf "$runtime/www/$address"
  rm -f "$runtime/$name.json" "$runtime/$name.json.new"
  network_down_if_unused
  unlock_machine
}

stop_host() {
  power_off "$1"
  leave_machine "$1"
}

remove_host() {
  local clone
  if [ -n "${boot_pid:-}" ]; then kill -KILL "$boot_pid" 2>/dev/null || true; fi
  clone=$(registered "$1" clone)
  clear_processes "$1"
  # Where the host is another checkout's, that checkout's folder is gone already.
  if [ -z "$clone" ] || [ "$clone" = "$(lab_root)" ]; then
    rm -rf --one-file-system "$(host_dir "$1")"
    rmdir --ignore-fail-on-non-empty "$(lab_dir)/hosts" 2>/dev/null || true
    remove_stack_config "$1"
  fi
  leave_machine "$1"
}
