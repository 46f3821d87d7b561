#!/usr/bin/env bash
# A certificate of this machine's own authority, for a server that the world need not trust yet. Answers with the authority's
# certificate, which clients must be given. Keys are made here and stay here. Run by an update and by a timer; --force renews
# what is not due.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${NAMES:?space-separated DNS names, first is the common name}" "${FOLDER:?}" "${CA_DAYS:?}" "${DAYS:?}" "${RENEW_DAYS:?}"

if ! looking; then install -d -m 0755 "$FOLDER"; fi
[[ -d $FOLDER ]] || lost "$FOLDER" "the certificate authority is missing, which clients were given"
cd "$FOLDER"
read -ra names <<<"$NAMES"

if [[ ! -s ca.crt || ! -s ca.key ]]; then
  lost "$FOLDER/ca.crt" "it or its key is missing: the authority, which clients were given"
  say "making a certificate authority for ${names[0]}"
  (
    umask 077
    # A configuration of its own: OpenSSL 1.1.1 would add what -addext says to the system's, and two basicConstraints make
    # a certificate that nobody accepts.
    printf '[req]\ndistinguished_name=name\nx509_extensions=authority\n[name]\n[authority]\n%s\n%s\n%s\n' \
      basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign subjectKeyIdentifier=hash >ca.cnf
    openssl req -config ca.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$CA_DAYS" \
      -subj "/CN=${names[0]} private CA" \
      -keyout ca.key.new -out ca.crt.new 2>/dev/null
  ) || fail "openssl could not make the certificate authority in $FOLDER"
  chmod 0644 ca.crt.new
  mv -f ca.key.new ca.key
  mv -f ca.crt.new ca.crt
  rm -f ca.cnf selfsigned.crt
fi

begins=$(openssl x509 -in ca.crt -noout -startdate | cut -d= -f2)
(($(date -d "$begins" +%s) <= $(date +%s))) ||
  fail "the certificate authority in $FOLDER begins on $(date -ud "$begins" '+%F %R') UTC, and the machine's clock says $(date -u '+%F %R') UTC: set the clock, or, when it was wrong as the authority was made, remove $FOLDER/ca.crt, run pulumi up again, and give clients the new one"

# The names in the certificate, as one line.
certified() { openssl x509 -in selfsigned.crt -noout -ext subjectAltName | tail -n +2 | sed 's/ *DNS://g; s/,/ /g' | xargs; }
good() {
  [[ -s selfsigned.crt && -s selfsigned.key && $(certified) == "${names[*]}" ]] &&
    openssl x509 -in selfsigned.crt -noout -checkend $((RENEW_DAYS * 86400)) >/dev/null &&
    [[ $(openssl x509 -in selfsigned.crt -noout -pubkey) == "$(openssl pkey -in selfsigned.key -pubout 2>/dev/null)" ]] &&
    openssl verify -CAfile ca.crt selfsigned.crt >/dev/null 2>&1
}
make() {
  printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n' \
    "$(printf 'DNS:%s,' "${names[@]}" | sed 's/,$//')" >selfsigned.ext
  (
    umask 077
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${names[0]}" -keyout selfsigned.key.new -out selfsigned.csr 2>/dev/null
  )
  openssl x509 -req -in selfsigned.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days "$DAYS" -sha256 -extfile selfsigned.ext -out selfsigned.crt.new 2>/dev/null
}

protect() {
  chown root:root "$1"
  chmod 0600 "$1"
}
for name in ca.key selfsigned.key; do
  how=$([[ ! -e $name ]] || attributes "$name" root:root 0600)
  [[ -z $how ]] || change file "$FOLDER/$name" "$how" protect "$name"
done

if looking; then
  good || differs certificate "$FOLDER/selfsigned.crt" "it is missing, about to expire, or not for ${names[*]} by the machine's authority"
  exit 0
fi
if [[ ${1:-} == --force ]] || ! good; then
  say "making a certificate for ${names[*]}"
  trap 'rm -f selfsigned.csr selfsigned.ext' EXIT
  make || fail "openssl could not make a certificate in $FOLDER"
  chmod 0644 selfsigned.crt.new
  mv -f selfsigned.key.new selfsigned.key
  mv -f selfsigned.crt.new selfsigned.crt
  # On a first deployment there is no nginx yet; on later ones the update tells it, but the timer has nobody behind it.
  if systemctl is-active -q nginx && nginx -t >/dev/null 2>&1; then
    reload_nginx || fail "nginx did not take its new certificate and goes on with the earlier one: see 'journalctl -u nginx' on the machine"
  fi
fi
cat ca.crt
