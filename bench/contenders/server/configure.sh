#!/usr/bin/env bash
# Changes single settings of a deployed host, from what the program had put there, and starts everything anew.
set -euo pipefail

: "${SETTINGS?more of homeserver.yaml, as JSON, merged over it as a whole}"
: "${NGINX?a sed program for the site}"
: "${POSTGRESQL?lines for postgresql.conf}"

site=/etc/nginx/conf.d/matrix-homeserver.conf
yaml=/opt/synapse/homeserver.yaml
kept=/root/bench
if [ ! -d "$kept" ]; then
  mkdir -p "$kept"
  cp -p "$site" "$yaml" "$kept"
  cp -p /var/lib/pgsql/data/postgresql.conf "$kept"
fi

/opt/synapse/env/bin/python - "$SETTINGS" "$kept/homeserver.yaml" <<'PYTHON' >/root/bench/next.yaml
import json, sys, yaml

settings, generated = sys.argv[1:]
config = yaml.safe_load(open(generated))
for key, value in json.loads(settings).items():
    if isinstance(value, dict) and key == "database":
        config["database"]["args"].update(value)
    else:
        config[key] = value
yaml.safe_dump(config, sys.stdout)
PYTHON
install -o synapse -g synapse -m 640 /root/bench/next.yaml "$yaml"
sed "$NGINX" "$kept/matrix-homeserver.conf" >"$site"
{
  cat "$kept/postgresql.conf"
  printf '%s\n' "$POSTGRESQL"
} >/root/bench/postgresql.conf
install -o postgres -g postgres -m 600 /root/bench/postgresql.conf /var/lib/pgsql/data/postgresql.conf
nginx -q -t
systemctl stop synapse
systemctl restart postgresql
systemctl restart nginx
# It says when it is ready.
systemctl start synapse
