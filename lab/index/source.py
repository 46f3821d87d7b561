"""source.py INDEX VERSION: the source archive of that release of Synapse, from a package index (PEP 503), on standard output."""

import re
import sys
from html import unescape
from urllib.parse import urljoin
from urllib.request import urlopen

index, version = sys.argv[1:]
page = f"{index.rstrip('/')}/matrix-synapse/"
with urlopen(page, timeout=60) as answer:
    links = re.findall(r'href="([^"]+)"', answer.read().decode())
wanted = re.compile(rf"matrix[-_]synapse-{re.escape(version)}\.tar\.gz(#|$)")
link = next((unescape(link) for link in links if wanted.search(link)), None)
if link is None:
    sys.exit(f"{page} has no source archive of Synapse {version}")
with urlopen(urljoin(page, link), timeout=180) as answer:
    sys.stdout.buffer.write(answer.read())
