#!/usr/bin/env bash
# The secrets that Synapse's processes prove themselves to each other and to Redis with, in files of their own.
set -euo pipefail
: "${FOLDER:?}" "${USER_NAME:?}" "${WORKER_REPLICATION_SECRET:?}" "${REDIS_PASSWORD:?}"

write_as "$USER_NAME" 0600 "$FOLDER/worker_replication_secret" <<<"$WORKER_REPLICATION_SECRET"
write_as "$USER_NAME" 0600 "$FOLDER/redis_password" <<<"$REDIS_PASSWORD"
