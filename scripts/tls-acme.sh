#!/usr/bin/env bash
# A certificate from an ACME server, asked for when there is none, it is due, or its names changed; then nginx serves it.
# --force renews what is not due. Run by an update and by a timer.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${CERTBOT:?}" "${DIRECTORY:?}" "${EMAIL:?}" "${NAMES:?space-separated DNS names}" "${WEBROOT:?}" "${DATA:?}"
: "${CERTIFICATE:?}" "${KEY:?}" "${CA_FILE?authority of the ACME server; empty for those of the world}"

read -ra names <<<"$NAMES"
options=(
  certonly --non-interactive --agree-tos --email "$EMAIL" --no-eff-email --server "$DIRECTORY"
  --webroot --webroot-path "$WEBROOT" --cert-name matrix-homeserver --key-type ecdsa
  --keep-until-expiring --renew-with-new-domains
  --config-dir "$DATA" --work-dir "$DATA/work" --logs-dir /var/log/matrix-homeserver
)
for name in "${names[@]}"; do options+=(--domain "$name"); done
[[ ${1:-} != --force ]] || options+=(--force-renewal)
[[ -z $CA_FILE ]] || export REQUESTS_CA_BUNDLE=$CA_FILE

live=$DATA/live/matrix-homeserver
served() { cmp -s "$live/fullchain.pem" "$CERTIFICATE" && cmp -s "$live/privkey.pem" "$KEY"; }
if looking; then
  served || differs certificate "$CERTIFICATE" "it is not the one that the ACME server gave last"
  how=$(attributes "$KEY" root:root 0600 2>/dev/null || true)
  [[ -z $how ]] || differs file "$KEY" "$how"
  exit 0
fi
install -d -m 0700 "$DATA"
quietly "$CERTBOT" "${options[@]}" ||
  fail "the ACME server $DIRECTORY gave no certificate for ${names[*]} (see above; more in /var/log/matrix-homeserver/letsencrypt.log): let DNS name this machine for each of them and let the world reach its port 80, then run pulumi up again"

if served; then exit 0; fi
install -m 0600 "$live/privkey.pem" "$KEY.new"
install -m 0644 "$live/fullchain.pem" "$CERTIFICATE.new"
mv -fT "$KEY.new" "$KEY"
mv -fT "$CERTIFICATE.new" "$CERTIFICATE"
say "serving a new certificate for ${names[*]}, good until $(openssl x509 -in "$CERTIFICATE" -noout -enddate | cut -d= -f2)"
if systemctl is-active -q nginx; then
  quietly nginx -t || fail "nginx refuses its configuration (see above); it goes on with the earlier certificate"
  reload_nginx || fail "nginx did not reload: see 'journalctl -u nginx' on the machine"
fi
