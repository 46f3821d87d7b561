"""for_python.py LOCK PYTHON [NAME...]: what a host with that Python (a full version: 3.11.4) takes of a lock, or of the named packages
in it.

pip judges a requirement's conditions by the Python that it runs on, also when it downloads for another one.
"""

import sys

from pip._vendor.packaging.requirements import Requirement


def main(lock: str, python: str, *names: str) -> None:
    host = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    with open(lock, encoding="utf-8") as file:
        lines = file.read().replace("\\\n", " ").splitlines()
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        text, *hashes = line.split(" --hash=")
        requirement = Requirement(text.strip())
        if names and requirement.name not in names:
            continue
        if requirement.marker is None or requirement.marker.evaluate(host):
            print(f"{requirement.name}{requirement.specifier}", *(f"--hash={value.strip()}" for value in hashes))


main(*sys.argv[1:])
