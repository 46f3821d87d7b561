#!/usr/bin/env bash
# shape.sh TREE FILES: gives a Debian tree the outward shape of an EL8 machine, and the files in the folder FILES, if there is
# one. Run as root by rootfs.sh.
set -euo pipefail
tree=$1 files=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
  cp -R --no-preserve=ownership "$here/files/." "$tree/"
  if [ -d "$files" ]; then cp -R --no-preserve=ownership "$files/." "$tree/"; fi
  release_names
  platform_python
  remove_debian_tools
  rpm_database
  accounts
  quiet_units
  first_boot
}

release_names() {
  ln -sfn ../usr/lib/os-release "$tree/etc/os-release"
  ln -sfn redhat-release "$tree/etc/system-release"
  ln -sfn dnf "$tree/usr/bin/yum"
  rm -f "$tree/etc/debian_version"
  # Where EL8's programs look for trusted certificates.
  mkdir -p "$tree/etc/pki/tls/certs"
  ln -sfn /etc/ssl/certs/ca-certificates.crt "$tree/etc/pki/tls/certs/ca-bundle.crt"
}

# As on EL8, the system's own programs have a Python of their own, so that /usr/bin/python3.11, say, is a package's to bring.
platform_python() {
  local file python
  python=$(readlink "$tree/usr/bin/python3")
  mkdir -p "$tree/usr/libexec"
  mv "$tree/usr/bin/$python" "$tree/usr/libexec/platform-$python"
  ln -sfn "platform-$python" "$tree/usr/libexec/platform-python"
  ln -sfn ../libexec/platform-python "$tree/usr/bin/python3"
  while IFS= read -r file; do
    sed -i -E '1s,^#! */usr/bin/python3(\.[0-9]+)?( |$),#!/usr/libexec/platform-python\2,' "$file"
  done < <(grep -rlIE --max-count=1 '^#! */usr/bin/python3' "$tree/usr/bin" "$tree/usr/sbin" "$tree/usr/lib/cloud-init" || true)
}

# A host that could still be served by apt would hide what is missing in the RPMs.
remove_debian_tools() {
  rm -rf "$tree"/usr/bin/{apt,apt-*,dpkg,dpkg-*,lsb_release} "$tree"/usr/{lib,libexec}/{apt,dpkg} "$tree"/etc/{apt,dpkg} \
    "$tree"/var/lib/{apt,dpkg} "$tree"/var/cache/{apt,debconf} "$tree"/etc/cron.daily/{apt-compat,dpkg} \
    "$tree"/usr/lib/systemd/system/{apt,dpkg}-* "$tree"/etc/systemd/system/timers.target.wants/{apt,dpkg}-*
  # systemd would make services of these.
  rm -rf "$tree"/etc/init.d "$tree"/etc/rc?.d
  find "$tree/var/log" "$tree/var/cache" -type f -delete
}

# One of dnf's plugins asks for a folder of packages that is not there.
rpm_database() {
  rm -f "$tree/etc/dnf/plugins/local.conf" "$tree"/usr/lib/python3/dist-packages/dnf-plugins/local.py
  mkdir -p "$tree/var/lib/rpm"
  chroot "$tree" rpm --initdb
}

accounts() {
  chroot "$tree" groupadd --system wheel
}

# What has no meaning in a container, or would only slow its boot down. Not masked: nothing that a deployment may touch.
quiet_units() {
  local unit
  for unit in console-getty.service getty.target e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    dnf-makecache.timer systemd-networkd-wait-online.service cloud-init-hotplugd.socket systemd-pstore.service; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
  done
  rm -rf "$tree/var/log/journal"
}

# What every machine has of its own is made on its first boot.
first_boot() {
  rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id" "$tree/etc/hostname"
  : >"$tree/etc/machine-id"
  rm -f "$tree/etc/resolv.conf"
  : >"$tree/etc/resolv.conf"
  rm -rf "$tree"/var/lib/cloud/*
}

main
