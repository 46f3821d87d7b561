"""Serves each lab host, told by its address, the folder of that name: the package index and the repository of the checkout
that the host belongs to. serve.py ADDRESS PORT FOLDER"""

import functools
import http.server
import pathlib
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    # pip and dnf fetch many small files: let them keep their connections.
    protocol_version = "HTTP/1.1"

    def __init__(self, request, client_address, server, *, folder):
        super().__init__(request, client_address, server, directory=folder / client_address[0])

    def log_request(self, code="-", size="-"):
        """Only errors are worth a line."""


class Server(http.server.ThreadingHTTPServer):
    # Several hosts that install at once must not be refused.
    request_queue_size = 128


address, port, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
Server((address, port), functools.partial(Handler, folder=folder)).serve_forever()
