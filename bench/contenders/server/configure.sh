#!/usr/bin/env bash
# Gives a deployed host the configuration of one contender, from what the program had put there, and starts everything anew.
set -euo pipefail

: "${SYNAPSE:?generated, default or blog}"
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
  # What Synapse's own documentation starts with.
  name=$(sed -n 's/^server_name: "\(.*\)"$/\1/p' "$yaml")
  mkdir -m 711 /opt/synapse/bench
  chown synapse: /opt/synapse/bench
  (cd /opt/synapse/bench && runuser -u synapse -- /opt/synapse/env/bin/python -m synapse.app.homeserver \
    --generate-config --report-stats=no --server-name "$name" --config-path homeserver.yaml) >/dev/null
fi

/opt/synapse/env/bin/python - "$SYNAPSE" "$SETTINGS" "$kept/homeserver.yaml" <<'PYTHON' >/root/bench/next.yaml
import json, sys, yaml

contender, settings, generated = sys.argv[1:]
config = yaml.safe_load(open(generated))
if contender != "generated":
    ours, config = config, yaml.safe_load(open("/opt/synapse/bench/homeserver.yaml"))
    for key in ("registration_shared_secret", "macaroon_secret_key", "form_secret"):
        del config[key]
        ours_key = key + "_path"
        config[ours_key] = ours[ours_key]
    # The same server and the same users.
    for key in ("public_baseurl", "signing_key_path", "media_store_path", "database", "suppress_key_server_warning",
                "enable_registration", "enable_registration_without_verification", "rc_message", "rc_login", "rc_registration"):
        config[key] = ours[key]
    for key in ("cp_min", "cp_max"):
        config["database"]["args"].pop(key, None)
    if contender == "blog":
        config["database"]["args"].update(cp_min=5, cp_max=10)
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
