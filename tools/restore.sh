#!/usr/bin/env bash
# restore.sh: puts the backup FROM=file.tar.gpg, or FROM=s3://… of the stack's own store, onto the machine of the stack STACK. It is
# decrypted here, with the key that your gpg has, and sent to the machine as it comes. FORCE=yes replaces a homeserver that is in use. A
# stack's settings that lie elsewhere are named by CONFIG_FILE. See docs/backup.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

main() {
  local example="make restore STACK=prod FROM=example.com-20260102T033000Z.tar.gpg"
  begin "$example" pulumi gpg ssh tar
  from=${FROM:-} force=${FORCE:-}
  [[ -n $from ]] || die "name the backup: $example"
  [[ $from == s3://* || -r $from ]] || die "there is no file $from."
  prepare_ssh
  read_manifest

  server_name=$(setting serverName)
  [[ $(said server_name) == "$server_name" ]] ||
    die "$from is a backup of the homeserver $(said server_name), and the stack $stack is $server_name, whose users and rooms have that name in them."
  printf 'the backup of %s from %s (Synapse %s, PostgreSQL %s): a database dump of %s bytes, %s media files of %s bytes\n' "$server_name" "$(said time)" \
    "$(said synapse)" "$(($(said postgresql) / 10000))" "$(said database_bytes)" "$(said media_files)" "$(said media_bytes)"

  on_machine test -x "$PROGRAM" ||
    die "the machine cannot be reached, or has no $PROGRAM yet: run 'pulumi up --stack $stack' first, with backup.recipient set."
  local words=()
  [[ $force != yes ]] || words=(force)
  # Before what may be gigabytes is sent for nothing.
  restore check "${words[@]}" <"$work/manifest" || exit 1
  decrypt | restore "${words[@]}" || die "the backup was not restored (see above)."
  printf 'Now: pulumi up --stack %s, then log in. People stay logged in; the administrator has the password that the stack says.\n' "$stack"
}

PROGRAM=/usr/local/libexec/matrix-homeserver/restore

# The machine has the credentials of the store; the private key is here alone.
fetch() {
  case $from in
  s3://*) as_root "$STORE_PROGRAM get '$from'" </dev/null ;;
  *) cat -- "$from" ;;
  esac
}
decrypt() { fetch | gpg --quiet --decrypt; }

# It is the first thing in the file; gpg is told to stop when it was read, and complains.
read_manifest() {
  decrypt 2>"$work/gpg" | tar --extract --to-stdout --occurrence=1 manifest >"$work/manifest" 2>/dev/null || true
  [[ -s $work/manifest ]] || {
    cat "$work/gpg" >&2
    die "$from could not be decrypted (see above), or is no backup: gpg needs the private key that belongs to the stack's backup.recipient."
  }
}
said() { sed -n "s/^$1=//p" "$work/manifest"; }

# sudo closes all but the standard descriptors, and the program reads from another.
restore() { as_root "bash -c 'exec $PROGRAM $* 3<&0'"; }

main "$@"
