#!/usr/bin/env bash
# Something for nginx to start with until an ACME server, which asks nginx, has given a certificate: what was served until
# now, else one that nobody trusts.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${NAMES:?space-separated DNS names}" "${FOLDER:?}" "${WEBROOT:?}"

if looking; then
  [[ -d $WEBROOT ]] || differs folder "$WEBROOT" "it is missing"
  [[ -s $FOLDER/acme.crt && -s $FOLDER/acme.key ]] || differs certificate "$FOLDER/acme.crt" "it or its key is missing"
  exit 0
fi
install -d -m 0755 "$FOLDER" "$WEBROOT"
relabel -R "$(dirname "$WEBROOT")"
cd "$FOLDER"
if [[ -s acme.crt && -s acme.key ]]; then exit 0; fi

for mode in provided selfsigned; do
  [[ -s $mode.crt && -s $mode.key ]] || continue
  install -m 0600 "$mode.key" acme.key
  install -m 0644 "$mode.crt" acme.crt.new
  mv -f acme.crt.new acme.crt
  exit 0
done
(
  umask 077
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=${NAMES%% *}" -keyout acme.key -out acme.crt.new 2>/dev/null
) || fail "openssl could not make a certificate in $FOLDER"
chmod 0644 acme.crt.new
mv -f acme.crt.new acme.crt
