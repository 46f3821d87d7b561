#!/usr/bin/env bash
# The secrets that Synapse's processes prove themselves to each other and to Redis with, in files of their own.
# With LOOK set it changes nothing and tells what differs.
set -euo pipefail
: "${FOLDER:?}" "${USER_NAME:?}" "${WORKER_REPLICATION_SECRET:?}" "${REDIS_PASSWORD:?}"

secret_file "$USER_NAME" "$FOLDER/worker_replication_secret" "$WORKER_REPLICATION_SECRET"
secret_file "$USER_NAME" "$FOLDER/redis_password" "$REDIS_PASSWORD"
