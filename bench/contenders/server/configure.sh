#!/usr/bin/env bash
# Changes the settings of a deployed host, from what the program had put there, and starts everything anew.
set -euo pipefail

: "${SETTINGS?more of homeserver.yaml, as JSON, merged over it as a whole}"
: "${GENERATED?nothing, or sqlite3 or psycopg2: with this database, what Synapse generates as its configuration takes the place of ours}"
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

base=$kept/homeserver.yaml
# The only folder that the service may write to.
data=/opt/synapse/media_store/bench
if [ -n "$GENERATED" ]; then
  base=$data/homeserver.yaml
  rm -rf "$data"
  install -d -o synapse -g synapse "$data"
  cd "$data"
  runuser -u synapse -- /opt/synapse/env/bin/python -m synapse.app.homeserver --generate-config --report-stats=no \
    --server-name="$(sed -n 's/^server_name: *//p' "$kept/homeserver.yaml" | tr -d '"')" --config-path="$base" --config-directory="$data" \
    --data-directory="$data" >/dev/null
fi

/opt/synapse/env/bin/python - "$SETTINGS" "$base" "$kept/homeserver.yaml" "$GENERATED" <<'PYTHON' >/root/bench/next.yaml
import json, sys, yaml

settings, base, ours, generated = sys.argv[1:]
config = yaml.safe_load(open(base))
if generated:
    own = yaml.safe_load(open(ours))
    # Who may ask how often is alike for all; and so is whose server it is.
    same = ["public_baseurl", "signing_key_path"]
    config.update({k: v for k, v in own.items() if k.startswith(("rc_", "enable_registration")) or k in same})
    if generated == "psycopg2":
        config["database"] = own["database"]
        config["database"]["args"].update(host="localhost", cp_min=5, cp_max=10)
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
# Where nginx is to reach Synapse by a socket.
chmod o+x /opt/synapse /opt/synapse/media_store
nginx -q -t
systemctl stop synapse
systemctl restart postgresql
systemctl restart nginx
# It says when it is ready.
systemctl start synapse
