#!/usr/bin/env bash
# Asks the server what a client would ask, through nginx and TLS, and fails when an answer is not what a client needs.
set -euo pipefail
: "${SERVER_NAME:?}" "${BASE_URL:?}" "${CA_FILE?}" "${REVISION:?what is deployed; a change is why this runs again}"

host=${BASE_URL#https://}
# The names are asked of this machine itself: DNS may not point here yet, and a health check must not depend on it.
options=(--silent --show-error --max-time 30 --resolve "$host:443:127.0.0.1" --resolve "$SERVER_NAME:443:127.0.0.1")
[[ -z $CA_FILE ]] || options+=(--cacert "$CA_FILE")
# Synapse calls itself healthy with its database down; whether there is a room of a new name it has to ask there.
alias="%23health-check-$(od -An -N8 -tx8 /dev/urandom | tr -d ' '):$SERVER_NAME"

# expect SECONDS URL PATTERN: asks until the answer has the pattern in it.
expect() {
  local answer='' deadline=$((SECONDS + $1))
  until answer=$(curl "${options[@]}" "$2" 2>&1) && [[ $answer == *"$3"* ]]; do
    ((SECONDS < deadline)) || fail "$2 did not give a client what it needs ($3); the answer was: ${answer:0:300}"
    sleep 0.5
  done
}

expect 30 "https://$SERVER_NAME/.well-known/matrix/client" "\"$BASE_URL\""
expect 5 "https://$SERVER_NAME/.well-known/matrix/server" "\"$host:443\""
expect 60 "$BASE_URL/_matrix/client/versions" '"versions"'
expect 10 "$BASE_URL/_matrix/client/v3/directory/room/$alias" '"M_NOT_FOUND"'
say "$BASE_URL answers as a client needs it"
