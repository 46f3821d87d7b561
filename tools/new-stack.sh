#!/usr/bin/env bash
# new-stack.sh NAME: makes a stack for one environment and asks for what it cannot find out. Every question can be answered
# beforehand: SERVER_NAME, ADDRESS, LOGIN_USER, PORT, KEY_FILE. The host key is shown, to be compared with the machine's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local stack=${1:-} server_name address user port key_file host_key password
  [[ $stack =~ ^[A-Za-z0-9_.-]+$ ]] || die "give the stack a name of letters, digits, hyphens: make new-stack STACK=prod"
  command -v pulumi >/dev/null || die "there is no pulumi on PATH: install it (or, for the lab's own: . lab/env)."
  command -v ssh-keyscan >/dev/null || die "ssh-keyscan is missing: install OpenSSH's client."
  [[ ! -e Pulumi.$stack.yaml ]] || die "Pulumi.$stack.yaml exists already: change it with 'pulumi config set --stack $stack', or choose another name."

  server_name=$(answer SERVER_NAME "Server name, the end of user ids (@you:example.com); it can never change" "")
  [[ $server_name =~ ^[a-z0-9.-]+\.[a-z0-9-]+$ ]] || die "'$server_name' is no server name: write a DNS name in lower case, such as example.com."
  address=$(answer ADDRESS "Address of the machine" "$(resolve "matrix.$server_name")")
  [[ -n $address ]] || die "the machine's address is missing: give its host name or IP address."
  port=$(answer PORT "SSH port" 22)
  user=$(answer LOGIN_USER "SSH user (root, or one with passwordless sudo)" root)
  key_file=$(answer KEY_FILE "Private SSH key file (empty: the ssh-agent's keys)" "")
  host_key=$(read_host_key "$address" "$port")
  confirm_host_key "$address" "$host_key"

  pulumi stack init "$stack" >/dev/null || die "pulumi could not make the stack $stack (see above)."
  set_config serverName "$server_name"
  set_config host.address "$address"
  [[ $port == 22 ]] || set_config host.port "$port"
  [[ $user == root ]] || set_config host.user "$user"
  [[ -z $key_file ]] || set_config host.privateKeyFile "$key_file"
  set_config host.hostKey "$host_key"
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

# answer VARIABLE QUESTION DEFAULT: what was set beforehand, else what the person types, else the default.
answer() {
  local reply=${!1-}
  if [[ -z ${!1+set} && -t 0 ]]; then
    read -rp "$2${3:+ [$3]}: " reply </dev/tty
  fi
  printf '%s\n' "${reply:-$3}"
}

resolve() {
  getent ahostsv4 "$1" 2>/dev/null | awk 'NR == 1 { print $1 }' || true
}

read_host_key() {
  local keys
  keys=$(ssh-keyscan -T 10 -p "$2" -t ed25519,ecdsa,rsa "$1" 2>/dev/null | grep -v '^#' | sort -k2,2 | awk '{ print $2, $3 }')
  [[ -n $keys ]] || die "no SSH server answers at $1 port $2: check the address, and that its firewall lets this machine in."
  # The newest kind that the machine has.
  grep -m 1 '^ssh-ed25519 ' <<<"$keys" || head -n 1 <<<"$keys"
}

confirm_host_key() {
  local reply
  printf 'The machine at %s has the host key\n  %s\nOn the machine, ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub must print the same.\n' "$1" \
    "$(ssh-keygen -lf - <<<"$2")" "$(sed -E 's/^(ssh-)?([a-z0-9]+).*/\2/' <<<"$2")" >&2
  [[ -t 0 ]] || return 0
  read -rp "Is that it? [y/N]: " reply </dev/tty
  [[ $reply == [yY]* ]] || die "nothing was written."
}

set_config() {
  pulumi config set --stack "$stack" --path "$1" -- "$2"
}

main "$@"
