"""With an address of its own, administration answers there alone, and a flood of clients does not close it."""

import socket
import subprocess
import tempfile

import requests

from instance import free_port
from watched import Watched, holds

# Path, and whether each address knows it: the one for clients, the one for administration.
PATHS = [
    ("/env/production/oauth2/jwks", True, False),
    ("/env/production/.well-known/openid-configuration", True, False),
    ("/.well-known/oauth-authorization-server/env/production", True, False),
    ("/healthz", True, True),
    ("/readyz", True, True),
    ("/metrics", False, True),
    ("/console/sign-in", False, True),
    ("/console/assets/console.css", False, True),
    ("/api/openapi.json", False, True),
    ("/api/v1/clients", False, True),
    ("/docs/api", False, True),
]
MOST = 40


def play(checks, arguments):
    with tempfile.TemporaryDirectory(prefix="crossfade-admin-") as directory:
        server = Apart(arguments.binary, directory, None)
        try:
            server.start()
            _paths(checks, server)
            _whole_life(checks, server)
            _flood(checks, server)
        finally:
            server.stop()
        _settings(checks, server)


class Apart(Watched):
    """A server with two addresses; `url` is the one for administration."""

    def start(self):
        admin = f"127.0.0.1:{free_port()}"
        self.environment |= {
            "CROSSFADE_ADMIN_LISTEN": admin, "CROSSFADE_MAX_CONNECTIONS": str(MOST),
            "CROSSFADE_MAX_CONNECTIONS_PER_SOURCE": str(MOST),
        }
        super().start()
        self.for_clients, self.url = self.url, f"http://{admin}"
        self.environment["CROSSFADE_URL"] = self.url
        self.create_client()

    def issuer(self, environment):
        return f"{self.for_clients}/env/{environment}"


def _paths(checks, server):
    headers = server.session.headers
    for path, for_clients, for_admin in PATHS:
        for url, known in [(server.for_clients, for_clients), (server.url, for_admin)]:
            answer = requests.get(f"{url}{path}", headers=headers, timeout=10, allow_redirects=False)
            holds(checks, (answer.status_code == 200) == known and answer.status_code in (200, 404),
                  f"{path} at {'clients' if url == server.for_clients else 'admin'}: {'known' if known else '404'}",
                  f"{answer.status_code} {answer.text[:100]}")
    root = requests.get(server.for_clients, timeout=10, allow_redirects=False)
    holds(checks, root.status_code == 404, "the address for clients leads nowhere", str(root.status_code))


def _whole_life(checks, server):
    holds(checks, server.token().status_code == 200, "a token at the address for clients")
    holds(checks, server.change().status_code == 201, "a rotation at the address for administration")
    server.sign_in()
    holds(checks, True, "a sign-in at the address for administration")
    link = server._run(["owner", "recover", *server.place, "--email", "owner@example.com"])
    holds(checks, f"{server.url}/console/link#" in link, "a link leads to the address for administration", link)
    metadata = requests.get(f"{server.issuer('production')}/.well-known/openid-configuration", timeout=10).json()
    holds(checks, metadata["issuer"] == server.issuer("production"), "the issuer is at the address for clients",
          metadata["issuer"])
    doctor = server.doctor()
    holds(checks, all(outcome != "FAIL" for outcome, _ in doctor.values()), "doctor finds nothing wrong", str(doctor))


def _flood(checks, server):
    """Clients that take every connection of their address leave the other one free."""
    host, port = server.for_clients.split("//")[1].split(":")
    streams = []
    try:
        for _ in range(2 * MOST):
            stream = socket.create_connection((host, int(port)), timeout=5)
            stream.sendall(b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: x\r\n"
                           b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n")
            streams.append(stream)
        holds(checks, requests.get(f"{server.url}/healthz", timeout=5).status_code == 200,
              "a flood at the address for clients: administration answers")
        holds(checks, server.change().status_code == 201, "a flood at the address for clients: a rotation works")
    finally:
        for stream in streams:
            stream.close()


def _settings(checks, server):
    for environment, says in [
        ({"CROSSFADE_ADMIN_LISTEN": "0.0.0.0:0"}, "admin_url must be set when listening beyond loopback"),
        ({"CROSSFADE_ADMIN_LISTEN": "9443"}, "admin_listen must be an address and a port"),
        ({"CROSSFADE_ADMIN_LISTEN": "127.0.0.1:9", "CROSSFADE_LISTEN": "127.0.0.1:9"},
         "admin_listen must not be the address of listen"),
        ({"CROSSFADE_ADMIN_LISTEN": "127.0.0.1:0", "CROSSFADE_ADMIN_URL": "http://admin.example.com"},
         "admin_url must use https"),
        ({"CROSSFADE_ADMIN_LISTEN": "", "CROSSFADE_ADMIN_URL": "https://admin.example.com"},
         "admin_url must be set together with admin_listen"),
    ]:
        done = subprocess.run(
            [server.binary, "serve", *server.place], env=server.environment | environment, capture_output=True,
            text=True, timeout=60,
        )
        holds(checks, done.returncode == 2 and says in done.stderr, f"{environment}: refused",
              f"{done.returncode} {done.stderr[-400:]}")
