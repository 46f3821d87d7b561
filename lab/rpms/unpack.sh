#!/usr/bin/env bash
# unpack.sh ROOT DEBS FILES: unpacks the Debian packages of the folder DEBS into ROOT, as an EL8 package would hold them,
# and copies the folder FILES over them. Either folder may be missing.
set -euo pipefail
root=$1 debs=$2 files=$3

mkdir -p "$root/usr"
if [ -d "$debs" ]; then
  for deb in "$debs"/*.deb; do
    dpkg-deb -x "$deb" "$root"
  done
fi

# Debian's packages still use /bin, /lib and so on, which are links to /usr's on every host.
for top in bin sbin lib lib64; do
  if [ -d "$root/$top" ]; then
    mkdir -p "$root/usr/$top"
    cp -al "$root/$top/." "$root/usr/$top/"
    rm -r "${root:?}/$top"
  fi
done

# Nobody reads these on a throw-away host, and they are a third of the files. The rest is for Debian's own tools.
for unwanted in usr/share/{doc,doc-base,man,info,lintian,bug,apport,locale,gdb,vim,zsh,applications,pixmaps,binfmts} usr/lib/binfmt.d \
  usr/share/postgresql/*/man etc/{init.d,default,logrotate.d,ufw}; do
  # shellcheck disable=SC2086 # one of them is a pattern
  rm -rf "${root:?}"/$unwanted
done
find "$root" -mindepth 1 -type d -empty \( -path "$root/usr/share*" -o -path "$root/etc" -o -path "$root/usr/lib" \) -delete

if [ -d "$files" ]; then
  # Not with the modes of a checkout, which depend on the umask of whoever made it.
  tar -C "$files" --mode=u=rwX,go=rX -c . | tar -C "$root" --no-same-owner --no-overwrite-dir -x
fi
