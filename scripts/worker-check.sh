#!/usr/bin/env bash
# Asks every worker whether it works, and whether nginx gives clients to those that are for them.
# Nothing of it can differ later.
set -euo pipefail
: "${SERVER_NAME:?}" "${BASE_URL:?}" "${CA_FILE?}" "${WORKERS:?a line each: unit|port|client or nobody}" "${REVISION:?what is deployed; a change is why this runs again}"

host=${BASE_URL#https://}
through_nginx=(--resolve "$host:443:127.0.0.1")
[[ -z $CA_FILE ]] || through_nginx+=(--cacert "$CA_FILE")
# A worker calls itself healthy with the database down; whether there is a room of a new name it has to ask there.
room="/_matrix/client/v3/directory/room/%23worker-check-$(od -An -N8 -tx8 /dev/urandom | tr -d ' '):$SERVER_NAME"

is_healthy() { [[ $(curl -s --max-time 5 "http://127.0.0.1:$1/health") == OK ]]; }
asks_database() { [[ $(curl -s --max-time 10 "http://127.0.0.1:$1$room") == *'"M_NOT_FOUND"'* ]]; }
# nginx says which process answered, to this machine alone.
is_given_clients() { curl -s --max-time 10 "${through_nginx[@]}" -o /dev/null -D - "$BASE_URL$room" | grep -i '^x-served-by: 127\.0\.0\.1:81'; }

clients=no
while IFS='|' read -r unit port serves; do
  # After a restart of Synapse all of them start anew, at once.
  wait_until 120 is_healthy "$port" || fail "$unit does not answer on port $port, while clients are served by the other processes: see 'journalctl -u $unit' on the machine"
  [[ $serves == client ]] || continue
  clients=yes
  wait_until 30 asks_database "$port" || fail "$unit does not answer clients, while others are served by the other processes: see 'journalctl -u $unit' on the machine"
done <<<"$WORKERS"
[[ $clients == no ]] || wait_until 30 is_given_clients || fail "nginx gives no client to a worker of Synapse: see 'nginx -T' and 'journalctl -u nginx' on the machine"
say "all workers of Synapse work"
