#!/usr/bin/env bash
# Asks the server what a client would ask, through nginx and TLS, and fails when an answer is not what a client needs.
# Nothing of it can differ later.
set -euo pipefail
: "${SERVER_NAME:?}" "${BASE_URL:?}" "${APEX:?served or elsewhere}" "${CA_FILE?}" "${REVISION:?what is deployed; a change is why this runs again}"

host=${BASE_URL#https://}
# The names are asked of this machine itself: DNS may not point here yet, and a health check must not depend on it.
options=(--silent --show-error --max-time 30 --resolve "$host:443:127.0.0.1")
[[ $APEX == elsewhere ]] || options+=(--resolve "$SERVER_NAME:443:127.0.0.1")
[[ -z $CA_FILE ]] || options+=(--cacert "$CA_FILE")
# Synapse calls itself healthy with its database down; whether there is a room of a new name it has to ask there.
alias="%23health-check-$(od -An -N8 -tx8 /dev/urandom | tr -d ' '):$SERVER_NAME"

# gives SECONDS URL PATTERN: asks until the answer has the pattern in it.
gives() {
  local deadline=$((SECONDS + $1))
  until answer=$(curl "${options[@]}" "$2" 2>&1) && [[ $answer == *"$3"* ]]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}
expect() { gives "$@" || fail "$2 did not give a client what it needs ($3); the answer was: ${answer:0:300}"; }
wish() { gives "$@" || say "note: $2 does not answer with $3 yet, so clients that know only $SERVER_NAME do not find this server (see the outputs wellKnownClient and wellKnownServer)"; }
[[ $APEX == served ]] && discovery=expect || discovery=wish

"$discovery" 15 "https://$SERVER_NAME/.well-known/matrix/client" "\"$BASE_URL\""
"$discovery" 5 "https://$SERVER_NAME/.well-known/matrix/server" "\"$host:443\""
expect 60 "$BASE_URL/_matrix/client/versions" '"versions"'
expect 10 "$BASE_URL/_matrix/client/v3/directory/room/$alias" '"M_NOT_FOUND"'
say "$BASE_URL answers as a client needs it"
