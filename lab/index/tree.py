"""tree.py FILES TARGET: moves packages into a static package index (PEP 503) that any web server can serve."""

import hashlib
import html
import re
import shutil
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path


def main(files: Path, target: Path) -> None:
    for file in sorted(files.iterdir()):
        folder = target / project_of(file)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(file, folder / file.name)
    projects = sorted(folder for folder in target.iterdir() if folder.is_dir())
    for project in projects:
        write(project, [anchor(file) for file in sorted(project.iterdir())])
    write(target, [f'<a href="{project.name}/">{project.name}</a>' for project in projects])


def project_of(file: Path) -> str:
    """A wheel's name ends at its first dash, a source archive's before its last one."""
    name = file.name.split("-")[0] if file.suffix == ".whl" else file.name.rpartition("-")[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def anchor(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    python = requires_python(file)
    condition = f' data-requires-python="{html.escape(python)}"' if python else ""
    return f'<a href="{html.escape(file.name)}#sha256={digest}"{condition}>{html.escape(file.name)}</a>'


def requires_python(wheel: Path) -> str | None:
    """Without it pip would take the newest setuptools also for a Python that this one does not run on."""
    if wheel.suffix != ".whl":
        return None
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return message_from_bytes(archive.read(name))["Requires-Python"]


def write(folder: Path, anchors: list[str]) -> None:
    body = "\n".join(f"{anchor}<br>" for anchor in anchors)
    page = f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.0"></head>\n<body>\n{body}\n</body></html>\n'
    (folder / "index.html").write_text(page, encoding="utf-8")


main(Path(sys.argv[1]), Path(sys.argv[2]))
