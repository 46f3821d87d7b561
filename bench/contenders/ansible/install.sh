#!/usr/bin/env bash
# Prints a folder with a virtual environment that has the Ansible of requirements.txt: the last one that manages EL8 with EL8's own
# Python. It is made when the cache does not hold it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../../lab/lib.sh
. "$here/../../../lab/lib.sh"

# Its programs name the folder in their first line, so that they are run by their Python where it was moved to.
install_ansible() {
  say "installing Ansible..."
  python3 -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement "$here/requirements.txt"
}

need_tools python3=python3-venv
folder=$(cached ansible "$(hash_inputs "$here/requirements.txt")" install_ansible)
printf '%s\n' "$folder"
