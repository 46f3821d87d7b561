#!/usr/bin/env bash
# boot.sh HOST_FOLDER: boots a lab host and stays until it is off. Started by lab/lab.sh in a control group and a session of its own.
#
# The host's disk is mounted in a mount namespace of this process alone: when the process ends, for whatever reason, no
# mount is left.
set -euo pipefail
dir=$1
# shellcheck source-path=SCRIPTDIR source=cgroup.sh
. "$(dirname "${BASH_SOURCE[0]}")/cgroup.sh"
if [ "${2:-}" != mounted ]; then
  exec unshare --mount --propagation private "$0" "$dir" mounted
fi

name=$(jq -r .name "$dir/host.json")
address=$(jq -r .address "$dir/host.json")

# Relative names: a path with a comma or a colon would be taken for an option.
mount_disk() {
  cd "$dir"
  mount --bind "$(jq -r .rootfs host.json)" lower
  if [ -f disk.img ]; then mount -o loop disk.img disk; fi
  mount -t overlay lab -o lowerdir=lower,upperdir=disk/upper,workdir=disk/work root
}

# The address is set by a unit and not by cloud-init, whose ways differ with the distribution.
write_address() {
  local unit=root/etc/systemd/system/lab-address.service
  cat >"$unit" <<UNIT
[Unit]
Description=Address of the lab host
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target cloud-init-local.service network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip address replace $address/24 dev host0
ExecStart=/usr/sbin/ip link set host0 up
UNIT
  mkdir -p root/etc/systemd/system/sysinit.target.wants
  ln -sfn ../lab-address.service root/etc/systemd/system/sysinit.target.wants/lab-address.service
  if [ -d root/etc/NetworkManager/conf.d ]; then
    printf '[keyfile]\nunmanaged-devices=interface-name:host0\n' >root/etc/NetworkManager/conf.d/lab.conf
  fi
}

write_seed() {
  local seed=root/var/lib/cloud/seed/nocloud
  mkdir -p "$seed"
  install -m 600 seed/user-data seed/meta-data seed/network-config "$seed/"
}

mount_disk
write_address
write_seed

stopping=
child=
trap 'stopping=yes; kill -TERM "$child" 2>/dev/null || true' TERM
# A host that reboots itself ends nspawn with 133, for a service manager to start it again: that is this loop.
status=133
while [ "$status" = 133 ] && [ -z "$stopping" ]; do
  # The limits that a machine boots with, whatever those of the calling shell are.
  # No lock beside the disk: the registry of hosts is the lock.
  SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn --quiet --boot --register=no --keep-unit --settings=no \
    --machine="mxlab-$name" --directory=root --network-bridge=mxlab0 \
    --rlimit=NOFILE=1024:524288 --rlimit=CORE=0:infinity \
    --resolv-conf=off --timezone=off --link-journal=no --console=read-only &
  child=$!
  # A signal ends `wait`, but not the host.
  while
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null
  do :; done
done
# When nspawn itself was killed, what it booted would run on with nobody to look after it.
cgroup_pids "$name" | grep -vxF "$$" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
exit "$status"
