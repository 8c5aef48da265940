"""Signals that would end a process do not end a server, and a stop loses no evidence and no answer."""

import concurrent.futures
import http.server
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

from instance import free_port, require
from watched import Watched, holds, watched

IGNORED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
TOKENS = 3
# Longer than other requests are waited for at a stop, and shorter than an issuer may take.
SLOW = 13
ANSWER = b'{"access_token":"late","token_type":"Bearer"}'


def play(checks, arguments):
    _server(checks, arguments)
    _demo(checks, arguments)
    _slow_issuer(checks, arguments)


class SlowIssuer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.set()
        time.sleep(SLOW)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *arguments):
        """Says nothing."""


def _slow_issuer(checks, arguments):
    """A stop awaits what was forwarded, and the first request of a new connection."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowIssuer) as issuer, \
            tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        issuer.asked = threading.Event()
        threading.Thread(target=issuer.serve_forever, daemon=True).start()
        server = Watched(arguments.binary, pathlib.Path(directory), None)
        server.environment["CROSSFADE_OUTBOUND_PRIVATE_NETWORKS"] = "127.0.0.0/8"
        try:
            server.start()
            _put_in_front(server, f"http://127.0.0.1:{issuer.server_port}")
            late = pool.submit(server.token)
            holds(checks, issuer.asked.wait(20), "a request is forwarded")
            host, port = server.url.split("://")[1].split(":")
            with socket.create_connection((host, int(port)), 20) as new:
                time.sleep(0.2)
                server.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                new.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                first = new.recv(4096).decode()
            is_last = "\r\nconnection: close\r\n" in first
            holds(checks, first.startswith("HTTP/1.1 200 ") and is_last, "a new connection gets an answer during a stop", first)
            answer = late.result(SLOW + 20)
            holds(checks, answer.content == ANSWER, "a caller gets what the issuer answers during a stop", answer.text)
            status = server.process.wait(20)
            holds(checks, status == 0, "a server that has waited for an issuer stops in order", f"status {status}")
        finally:
            server.stop()
            issuer.shutdown()


def _put_in_front(server, issuer):
    upstream = {"kind": "generic", "servers": [{"name": "main", "issuer": issuer, "token_endpoint": f"{issuer}/token"}]}
    server.api("PATCH", "/environments/production", {
        "issuer_mode": "upstream", "upstream": upstream, "confirm_environment_slug": "production"})
    body = {
        "name": "Billing", "property_id": server.api("POST", "/properties", {"name": "Shop"})["id"],
        "environments": ["production"], "client_id": "billing",
    }
    client = server.api("POST", "/clients", body)
    server.client_id, server.secret = "billing", client["registrations"][0]["secret"]["value"]
    path = f"/clients/{client['id']}/environments/production/upstream-credential"
    server.api("PUT", path, {"secret": "the issuer's"})


def _demo(checks, arguments):
    """A demo ends with its terminal, and takes its data away."""
    with tempfile.TemporaryDirectory() as directory:
        demo = subprocess.Popen([arguments.binary, "demo", "--listen", f"127.0.0.1:{free_port()}"],
                                env={"TMPDIR": directory}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = next((line for line in demo.stdout if "until you press Ctrl-C" in line), None)
            holds(checks, said is not None and os.listdir(directory), "the demo has data of its own", str(said))
            demo.send_signal(signal.SIGHUP)
            status = demo.wait(20)
            holds(checks, status == 0, "a demo whose terminal is gone stops in order", f"status {status}")
            holds(checks, not os.listdir(directory), "a demo whose terminal is gone leaves nothing",
                  str(os.listdir(directory)))
        finally:
            demo.kill()
            demo.wait(10)


def _server(checks, arguments):
    with watched(arguments) as server:
        expected = 0
        for number in IGNORED:
            server.process.send_signal(number)
            name = number.name.removeprefix("SIG")
            server.eventually(checks, lambda: require(f'signal="{name}"' in server.log.read_text(), "no line"),
                              f"the log names {number.name}")
            holds(checks, server.process.poll() is None, f"the server runs on after {number.name}",
                  str(server.process.poll()))
            holds(checks, server.token().status_code == 200, f"the server decides after {number.name}")
            expected += 1
        for number in STOPS:
            for _ in range(TOKENS):
                server.token()
                expected += 1
            # In the midst of others, before the evidence has been written down.
            for other in IGNORED:
                server.process.send_signal(other)
            server.process.send_signal(number)
            begun = time.monotonic()
            status = server.process.wait(20)
            holds(checks, status == 0, f"{number.name} stops the server in order", f"status {status}")
            holds(checks, time.monotonic() - begun < 18, f"{number.name} stops the server soon")
            server.start_again()
            [found] = server.api("GET", f"{server.path}/secrets")["items"]
            holds(checks, found["use_count"] == expected, f"{number.name} loses no evidence",
                  f"{found['use_count']} of {expected}")
