#!/usr/bin/env bash
# new-stack.sh NAME: makes a stack for one environment and asks for what it cannot find out. Every question can be answered
# beforehand: SERVER_NAME, ADDRESS, LOGIN_USER, PORT, KEY_FILE. The host key is shown, to be compared with the machine's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local server_name password
  stack=${1:-}
  [[ $stack =~ ^[A-Za-z0-9_.-]+$ ]] || die "give the stack a name of letters, digits, hyphens: make new-stack STACK=prod"
  command -v pulumi >/dev/null || die "there is no pulumi on PATH: install it (or, for the lab's own: . lab/env)."
  command -v ssh-keyscan >/dev/null || die "ssh-keyscan is missing: install OpenSSH's client."
  [[ ! -e Pulumi.$stack.yaml ]] || die "Pulumi.$stack.yaml exists already: change it with 'pulumi config set --stack $stack', or choose another name."

  server_name=$(answer SERVER_NAME "Server name, the end of user ids (@you:example.com); it can never change" "")
  [[ $server_name =~ ^[a-z0-9.-]+\.[a-z0-9-]+$ ]] || die "'$server_name' is no server name: write a DNS name in lower case, such as example.com."
  ask_for_machine "$(resolve "matrix.$server_name")"

  make_stack
  set_config serverName "$server_name"
  # Nobody has to know it: the program gives it to PostgreSQL and to Synapse.
  password=$(openssl rand -hex 24)
  pulumi config set --stack "$stack" --secret dbPassword <<<"$password"

  cat <<NEXT
Wrote Pulumi.$stack.yaml. It will serve $server_name at https://matrix.$server_name (set domains for other names) with a
certificate of the machine's own. For one that everybody trusts, once DNS names the machine:
  pulumi config set --stack $stack --path tls.mode acme
  pulumi config set --stack $stack --path tls.acmeEmail you@$server_name
Then:
  pulumi preview --stack $stack
  pulumi up --stack $stack
NEXT
}

main "$@"
