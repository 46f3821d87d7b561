#!/usr/bin/env bash
# What somebody would paste into a root shell to get a homeserver, top to bottom: no look at what is there, no way back. The
# measurement puts the variables in front.
set -euo pipefail
: "${SERVER_NAME:?}" "${DB_PASSWORD:?}" "${ADMIN_PASSWORD:?}" "${INDEX_URL:?}" "${REQUIREMENTS:?text of the lock}"
: "${PYTHON:?}" "${POSTGRESQL_STREAM:?}" "${NGINX_STREAM:?}"

matrix=matrix.$SERVER_NAME

# Packages
dnf -q -y module enable "postgresql:$POSTGRESQL_STREAM" "nginx:$NGINX_STREAM"
dnf -q -y install "$PYTHON" postgresql-server postgresql nginx firewalld

# Firewall
systemctl enable --now firewalld
firewall-cmd -q --permanent --add-service=http --add-service=https
firewall-cmd -q --reload

# Account and Synapse
useradd --system --user-group --home-dir /opt/synapse --create-home --shell /sbin/nologin synapse
cd /opt/synapse
printf '%s\n' "$REQUIREMENTS" >requirements.txt
authority=${INDEX_URL#*://}
runuser -u synapse -- "$PYTHON" -m venv env
runuser -u synapse -- env/bin/pip install -q --disable-pip-version-check --no-cache-dir --index-url "$INDEX_URL" --trusted-host "${authority%%/*}" \
  --require-hashes --only-binary :all: -r requirements.txt

# Configuration: Synapse makes it with its secrets and its signing key; the database and the proxy are ours to say
runuser -u synapse -- env/bin/python -m synapse.app.homeserver --generate-config --report-stats=no --server-name "$SERVER_NAME" \
  --config-path homeserver.yaml --config-directory /opt/synapse --data-directory /opt/synapse
sed -i '/^database:/,/^[a-z_]*:.*[^:]$\|^log_config:/ { /^log_config:/! d }' homeserver.yaml
cat >>homeserver.yaml <<YAML
public_baseurl: https://$matrix
database:
  name: psycopg2
  args:
    user: synapse
    password: "$DB_PASSWORD"
    database: synapse
    host: localhost
    port: 5432
    cp_min: 5
    cp_max: 10
YAML
chmod 0640 homeserver.yaml

# PostgreSQL
PGSETUP_INITDB_OPTIONS="--encoding=UTF8 --locale=C" postgresql-setup --initdb
sed -i '1i host synapse synapse 127.0.0.1/32 scram-sha-256\nhost synapse synapse ::1/128 scram-sha-256' /var/lib/pgsql/data/pg_hba.conf
systemctl enable --now postgresql
runuser -u postgres -- psql -q <<SQL
CREATE ROLE synapse LOGIN PASSWORD '$DB_PASSWORD';
CREATE DATABASE synapse OWNER synapse ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
SQL

# Service
cat >/etc/systemd/system/synapse.service <<'UNIT'
[Unit]
Description=Synapse
After=network-online.target postgresql.service

[Service]
Type=notify
User=synapse
Group=synapse
WorkingDirectory=/opt/synapse
ExecStart=/opt/synapse/env/bin/python -m synapse.app.homeserver --config-path=/opt/synapse/homeserver.yaml
ExecReload=/bin/kill -HUP $MAINPID
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
runuser -u synapse -- env/bin/python -m synapse.config -c homeserver.yaml
systemctl daemon-reload
systemctl enable --now synapse

# Certificate and nginx
install -d /etc/pki/matrix
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 820 -subj "/CN=$SERVER_NAME" \
  -addext "subjectAltName=DNS:$SERVER_NAME,DNS:$matrix,DNS:synapse.$SERVER_NAME" \
  -keyout /etc/pki/matrix/server.key -out /etc/pki/matrix/server.crt
cat >/etc/nginx/conf.d/matrix.conf <<NGINX
server {
    listen 443 ssl http2;
    listen [::]:443 ssl http2;
    server_name $matrix synapse.$SERVER_NAME;
    ssl_certificate /etc/pki/matrix/server.crt;
    ssl_certificate_key /etc/pki/matrix/server.key;
    access_log off;
    client_max_body_size 50M;
    location ~ ^(/_matrix|/_synapse/client) {
        proxy_pass http://127.0.0.1:8008;
        proxy_http_version 1.1;
        proxy_set_header X-Forwarded-For \$remote_addr;
        proxy_set_header X-Forwarded-Proto \$scheme;
        proxy_set_header Host \$host;
    }
}
server {
    listen 443 ssl http2;
    listen [::]:443 ssl http2;
    server_name $SERVER_NAME;
    ssl_certificate /etc/pki/matrix/server.crt;
    ssl_certificate_key /etc/pki/matrix/server.key;
    access_log off;
    location = /.well-known/matrix/server {
        default_type application/json;
        add_header Access-Control-Allow-Origin *;
        return 200 '{"m.server":"$matrix:443"}';
    }
    location = /.well-known/matrix/client {
        default_type application/json;
        add_header Access-Control-Allow-Origin *;
        return 200 '{"m.homeserver":{"base_url":"https://$matrix"}}';
    }
}
NGINX
nginx -t
systemctl enable --now nginx

# Administrator, and a look from outside
env/bin/register_new_matrix_user -c homeserver.yaml -u admin -p "$ADMIN_PASSWORD" -a http://127.0.0.1:8008
curl -sS --fail --cacert /etc/pki/matrix/server.crt --resolve "$matrix:443:127.0.0.1" "https://$matrix/_matrix/client/versions" >/dev/null
curl -sS --fail --cacert /etc/pki/matrix/server.crt --resolve "$SERVER_NAME:443:127.0.0.1" "https://$SERVER_NAME/.well-known/matrix/client" >/dev/null
