"""The HTTP server of the issuers that are written in Python."""

import os
import threading

from werkzeug.serving import WSGIRequestHandler, make_server


class Handler(WSGIRequestHandler):
    # Kept connections.
    protocol_version = "HTTP/1.1"

    def log(self, *arguments):
        """Says nothing: stdout has the answers."""


def serve_beside(app, port):
    """Serves a WSGI application in threads of its own. Returns once it listens."""
    # Plain HTTP is for loopback alone.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
