#!/usr/bin/env bash
# Looks at a homeserver that was built by hand, changes nothing, and answers as JSON: `Found` in config/adoption.ts. Secrets are
# in it.
set -euo pipefail
: "${CONFIG?homeserver.yaml, where the running Synapse does not say}"

# shellcheck source=/dev/null
system=$(. /etc/os-release && printf '%s %s|%s' "$ID" "${ID_LIKE:-}" "$PRETTY_NAME")
[[ ${system%|*} =~ rhel|fedora|centos|almalinux|rocky|^ol ]] ||
  fail "this machine runs ${system#*|}, and this program keeps machines of the EL8 family: set up one of those, and move the homeserver there"

# The first word after an interpreter's -m, or the program itself.
# It may have ended meanwhile.
runs() { { tr '\0' '\n' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qxE "(.*/)?($2)"; }
main_process='' workers=0
for folder in /proc/[0-9]*; do
  pid=${folder#/proc/}
  if runs "$pid" 'synapse\.app\.generic_worker|synapse_worker'; then
    workers=$((workers + 1))
  elif runs "$pid" 'synapse\.app\.homeserver|synapse_homeserver' && ! runs "$(awk '{ print $4 }' "/proc/$pid/stat")" 'synapse\.app\.homeserver|synapse_homeserver'; then
    [[ -z $main_process ]] || fail "two Synapse servers run on this machine, and one stack keeps one: move the other away first"
    main_process=$pid
  fi
done
[[ -n $main_process ]] || fail "no Synapse runs on this machine: start the one that is to be taken over, so that its settings can be read"
if grep -qE 'docker|libpod|containerd|kubepods|machine\.slice' "/proc/$main_process/cgroup"; then
  fail "Synapse runs in a container here, whose files this program cannot take over: restore its data into a new deployment instead"
fi
unit=$(grep -oE '[^/]+\.service$' "/proc/$main_process/cgroup" | head -n 1 || true)
[[ -n $unit && $unit != user@* && $unit != ssh*.service ]] ||
  fail "Synapse was not started by a systemd service but by hand (process $main_process): write a unit for it and start it by that, so that it can be put back"

# As that process found it: an activated environment calls it just "python".
folder=$(readlink "/proc/$main_process/cwd")
command=$(tr '\0' '\n' <"/proc/$main_process/cmdline" | head -n 1)
path=$(tr '\0' '\n' <"/proc/$main_process/environ" | sed -n 's/^PATH=//p')
python=$(cd "$folder" && PATH=$path command -v "$command") || fail "the Python of the running Synapse ($command) is not there any more: restart $unit, which must work before it can be taken over"
[[ $python == /* ]] || python=$folder/$python

export CONFIG main_process workers unit folder
# -B: not even what Python would remember of its modules.
"$python" -B - <<'PYTHON' || fail "the running Synapse could not be looked at (see above)"
import json, os, pwd, re, sqlite3, subprocess, sys
from pathlib import Path

import synapse, yaml

CANDIDATES = ["admin", "homeserver-admin", "stack-admin"]
environ = os.environ
pid, folder = environ["main_process"], Path(environ["folder"])


def stop(sentence):
    sys.stderr.write("error: " + sentence + "\n")
    sys.exit(1)


def configuration_files():
    words = Path("/proc", pid, "cmdline").read_text().split("\0")
    named = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-c", "--config-path")]
    named += [word.split("=", 1)[1] for word in words if word.startswith("--config-path=")]
    if environ["CONFIG"]:
        named = [environ["CONFIG"]]
    paths = [folder / name for name in named or ["homeserver.yaml"]]
    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    missing = [str(path) for path in files or paths if not path.is_file()]
    if missing or not files:
        stop("there is no homeserver.yaml at %s, where the running Synapse was looked at: name it with CONFIG=/path/homeserver.yaml" % ", ".join(missing))
    return files


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout


def accounts(query):
    marks = ", ".join("'@%s:%s'" % (name, config["server_name"]) for name in CANDIDATES)
    (count,) = query("SELECT count(*) FROM users")[0]
    taken = [name[1:].split(":")[0] for (name,) in query("SELECT name FROM users WHERE name IN (%s)" % marks)]
    return {"users": count, "freeAdmin": next((name for name in CANDIDATES if name not in taken), None)}


def sqlite(args):
    path = (folder / args["database"]).resolve()
    connection = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    return {"kind": "sqlite", "path": str(path), "bytes": path.stat().st_size, **accounts(lambda sql: connection.execute(sql).fetchall())}


def postgresql(args):
    import psycopg2

    # By the name of the account, where the server trusts that.
    account = pwd.getpwuid(uid)
    os.setegid(account.pw_gid)
    os.seteuid(uid)
    connection = psycopg2.connect(**{name: value for name, value in args.items() if not name.startswith("cp_")})

    def query(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    shape = query("SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba), current_user FROM pg_database WHERE datname = current_database()")[0]
    where = connection.get_dsn_parameters()
    return {
        "kind": "postgresql",
        "host": where.get("host", ""),
        "port": int(where.get("port", 5432)),
        "name": where["dbname"],
        "user": where["user"],
        "password": args.get("password"),
        "sslMode": args.get("sslmode"),
        "shape": " ".join(shape),
        "hasCluster": has_cluster,
        **accounts(query),
    }


files = configuration_files()
config = {}
for file in files:
    config.update(yaml.safe_load(file.read_text()) or {})

uid = os.stat("/proc/" + pid).st_uid
has_cluster = Path("/var/lib/pgsql/data/PG_VERSION").is_file()
properties = dict(line.split("=", 1) for line in output("systemctl", "show", environ["unit"], "-p", "FragmentPath,DropInPaths").splitlines())
media = (folder / config.get("media_store_path", "media_store")).resolve()
key = (folder / config.get("signing_key_path", files[0].parent / (config["server_name"] + ".signing.key"))).resolve()
home = next((entry.pw_dir for entry in pwd.getpwall() if entry.pw_name == "synapse"), None)
nginx = output("nginx", "-T")
pem = {}
for name in sorted(set(re.findall(r"^\s*ssl_certificate(?:_key)?\s+\"?([^\s\";]+)", nginx, re.M))):
    path = Path("/etc/nginx", name)
    if path.is_file():
        pem[name] = path.read_text()
opt = Path("/opt")
database = config.get("database") or {}
if database.get("name") not in ("sqlite3", "psycopg2"):
    stop("homeserver.yaml has no database of the kinds sqlite3 and psycopg2 in it")
try:
    looked = (sqlite if database["name"] == "sqlite3" else postgresql)(database.get("args", {}))
except Exception as error:
    stop("the database of homeserver.yaml does not answer: " + str(error).strip())
finally:
    os.seteuid(0)

print(json.dumps({
    "homeserver": config,
    "configFiles": [str(file) for file in files],
    "version": synapse.__version__,
    "environment": sys.prefix,
    "isVenv": sys.prefix != sys.base_prefix,
    "unit": environ["unit"][: -len(".service")],
    "unitFile": properties.get("FragmentPath", ""),
    "dropIns": properties.get("DropInPaths", "").split(),
    "account": pwd.getpwuid(uid).pw_name,
    "synapseHome": home,
    "workers": int(environ["workers"]),
    "database": looked,
    "signingKey": {"path": str(key), "id": " ".join(key.read_text().split()[:2]).replace(" ", ":") if key.is_file() else None},
    "mediaStore": {"path": str(media), "exists": media.is_dir(), "movable": not media.exists() or media.stat().st_dev == opt.stat().st_dev},
    "nginx": nginx,
    "pem": pem,
}, default=str))
PYTHON
