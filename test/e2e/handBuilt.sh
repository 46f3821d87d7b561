#!/usr/bin/env bash
# Builds a homeserver on this machine the way that a guide tells people to, command by command, with none of this project's own.
# `sqlite` stays with what a new Synapse has and runs as root; `postgresql` has a database of its own and an account for it.
set -euo pipefail
: "${SERVER_NAME:?}" "${INDEX_URL:?}" "${SYNAPSE:?release}" "${DATABASE:?sqlite or postgresql}" "${PASSWORD:?of the database and of the users root and ann}"

packages=(python3.11 nginx openssl curl)
dnf -q -y module enable nginx:1.22
if [[ $DATABASE == postgresql ]]; then
  dnf -q -y module enable postgresql:15
  packages+=(postgresql-server postgresql)
fi
dnf -q -y install "${packages[@]}"

mkdir -p /opt/synapse
cd /opt/synapse
python3.11 -m venv env
index_host=${INDEX_URL#http://}
drivers=()
if [[ $DATABASE == postgresql ]]; then drivers+=(psycopg2-binary); fi
env/bin/pip install -q --disable-pip-version-check --index-url "$INDEX_URL" --trusted-host "${index_host%%[:/]*}" "matrix-synapse==$SYNAPSE" "${drivers[@]}"
env/bin/python -m synapse.app.homeserver --server-name "$SERVER_NAME" --config-path homeserver.yaml --generate-config --report-stats=no
cat >>homeserver.yaml <<YAML

public_baseurl: https://matrix.$SERVER_NAME
max_upload_size: 20M
allow_guest_access: true
password_config:
  pepper: a-pinch-of-pepper
rc_login:
  account: { per_second: 1, burst_count: 100 }
  address: { per_second: 1, burst_count: 100 }
YAML

account=root
if [[ $DATABASE == postgresql ]]; then
  account=synapse
  postgresql-setup --initdb
  # What the guide calls "Peer authentication failed": ident knows no passwords.
  sed -i -E 's/^(host.*)ident$/\1md5/' /var/lib/pgsql/data/pg_hba.conf
  systemctl enable --now postgresql
  until runuser -u postgres -- psql -qAtc 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
  runuser -u postgres -- psql -q <<SQL
CREATE ROLE synapse LOGIN PASSWORD '$PASSWORD';
CREATE DATABASE synapse ENCODING 'UTF8' LC_COLLATE='C' LC_CTYPE='C' template=template0 OWNER synapse;
SQL
  python3.11 - <<PYTHON
import re
text = open("homeserver.yaml").read()
database = """database:
  name: psycopg2
  args:
    user: synapse
    password: '$PASSWORD'
    database: synapse
    host: localhost
    port: 5432
    cp_min: 5
    cp_max: 10
"""
text = re.sub(r"^database:\n(?:  .*\n)+", lambda _: database, text, flags=re.M)
open("homeserver.yaml", "w").write(text)
PYTHON
  groupadd -r synapse
  useradd -r -g synapse -s /sbin/nologin -d /opt/synapse synapse
  chown -R synapse:synapse /opt/synapse
fi

cat >/etc/systemd/system/matrix-synapse.service <<UNIT
[Unit]
Description=Matrix Synapse
After=network.target postgresql.service

[Service]
Type=simple
User=$account
WorkingDirectory=/opt/synapse
ExecStart=/opt/synapse/env/bin/python -m synapse.app.homeserver --config-path=/opt/synapse/homeserver.yaml
Restart=always
RestartSec=3

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now matrix-synapse

mkdir -p /etc/nginx/ssl
openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$SERVER_NAME" \
  -addext "subjectAltName=DNS:$SERVER_NAME,DNS:matrix.$SERVER_NAME,DNS:synapse.$SERVER_NAME" \
  -keyout /etc/nginx/ssl/matrix.key -out /etc/nginx/ssl/matrix.crt 2>/dev/null
cat >/etc/nginx/conf.d/matrix.conf <<NGINX
server {
    listen 443 ssl http2;
    listen [::]:443 ssl http2;
    server_name synapse.$SERVER_NAME matrix.$SERVER_NAME;
    access_log off;
    ssl_certificate /etc/nginx/ssl/matrix.crt;
    ssl_certificate_key /etc/nginx/ssl/matrix.key;
    location / {
        proxy_pass http://localhost:8008;
        proxy_set_header X-Forwarded-For \$remote_addr;
        proxy_set_header X-Forwarded-Proto \$scheme;
        proxy_set_header Host \$host;
        client_max_body_size 20M;
    }
}
server {
    listen 443 ssl http2;
    server_name $SERVER_NAME;
    ssl_certificate /etc/nginx/ssl/matrix.crt;
    ssl_certificate_key /etc/nginx/ssl/matrix.key;
    location /.well-known/matrix/server {
        return 200 '{"m.server": "matrix.$SERVER_NAME:443"}';
        add_header Content-Type application/json;
    }
    location /.well-known/matrix/client {
        return 200 '{"m.homeserver": {"base_url": "https://matrix.$SERVER_NAME"}}';
        add_header Content-Type application/json;
        add_header Access-Control-Allow-Origin *;
    }
}
NGINX
nginx -t -q
systemctl enable --now nginx

until curl -sf -o /dev/null http://127.0.0.1:8008/health; do sleep 0.2; done
env/bin/register_new_matrix_user -c homeserver.yaml -u root -p "$PASSWORD" -a http://localhost:8008
env/bin/register_new_matrix_user -c homeserver.yaml -u ann -p "$PASSWORD" --no-admin http://localhost:8008
