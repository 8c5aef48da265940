"""Floods of connections over TLS: idle, slow, unread and reset ones. Tokens and rotations go on, and memory has a bound."""

import contextlib
import http.client
import os
import pathlib
import re
import resource
import socket
import ssl
import struct
import tempfile
import threading
import time

from connections import GET, PREFACE, RST_STREAM, SETTINGS, END_STREAM, frame, headers
from instance import require
from tls import Encrypted, Pair
from watched import holds

IDLE = 5000
SOURCES = 10
# Measured with a debug build: 28 KiB for a connection that has asked once, and 4 KiB for one that only shook hands.
MOST_KIB_EACH = 40
MOST_MIB = 300
SOON = 5
DOCUMENT = "/api/openapi.json"


def play(checks, arguments):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard >= IDLE + 1000, f"this part opens {IDLE} sockets; the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="crossfade-tls-") as directory:
        pair = Pair(pathlib.Path(directory) / "pair")
        pair.make()
        server = Encrypted(arguments.binary, directory, None)
        server.environment |= {
            "CROSSFADE_TLS_CERT_FILE": str(pair.certificate), "CROSSFADE_TLS_KEY_FILE": str(pair.key),
            "SSL_CERT_FILE": str(pair.trusted),
        }
        os.environ["REQUESTS_CA_BUNDLE"] = str(pair.trusted)
        try:
            server.start()
            server.create_client()
            _floods(checks, server, pair)
        finally:
            server.stop()
            del os.environ["REQUESTS_CA_BUNDLE"]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _floods(checks, server, pair):
    context = ssl.create_default_context(cafile=pair.trusted)
    _works(checks, server, "before the floods")
    before = _memory(server)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(_idle(server, context, number)) for number in range(IDLE)]
        each = (_memory(server) - before) * 1024 / IDLE
        print(f"  {IDLE} idle connections over TLS: {before} to {_memory(server)} MiB, {each:.0f} KiB each", flush=True)
        holds(checks, each < MOST_KIB_EACH, f"an idle connection takes less than {MOST_KIB_EACH} KiB", f"{each:.1f}")
        count = server.metric("crossfade_connections")
        holds(checks, count is not None and count >= IDLE, f"{IDLE} connections are open", str(count))
        _works(checks, server, f"{IDLE} idle connections")
        holds(checks, _asks(idle[-1]) == 200, "a connection that was idle still asks")
        for what, sent, number in [
            ("half a head", b"GET /healthz HTTP/1.1\r\nHost: a\r\n", 300),
            ("half a body", b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 80\r\n"
                            b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type=", 200),
            ("requests whose answers are not read",
             f"GET {DOCUMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 20, 50),
        ]:
            for source in range(number):
                stream = stack.enter_context(_connected(server, context, source, receive_bytes=4096))
                stream.setblocking(False)
                with contextlib.suppress(OSError):
                    stream.sendall(sent)
            _works(checks, server, f"{number} connections that send {what}")
        _resets(checks, server)
        holds(checks, _memory(server) < MOST_MIB, f"the server stays under {MOST_MIB} MiB", f"{_memory(server)} MiB")
        for reason, least in [("headers", 300), ("stalled", 50)]:
            server.eventually(checks, lambda: _have_ended(server, reason, least), f"connections end as {reason}", 45)
    _works(checks, server, "after the floods")


def _memory(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024


def _have_ended(server, reason, least):
    count = server.metric(f'crossfade_connections_ended_total{{reason="{reason}"}}')
    require(count is not None and count >= least, f"{count} have ended")


def _works(checks, server, what):
    begun = time.monotonic()
    answer = server.token(timeout=SOON)
    holds(checks, answer.status_code == 200, f"{what}: a token", answer.text)
    changed = server.change()
    holds(checks, changed.status_code == 201, f"{what}: a rotation", changed.text)
    took = time.monotonic() - begun
    holds(checks, took < 2 * SOON, f"{what}: both soon", f"{took:.1f} s")


def _connected(server, context, source, receive_bytes=None):
    stream = socket.socket()
    if receive_bytes:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    stream.settimeout(10)
    # Each source may open a quarter of all connections.
    stream.bind((f"127.0.0.{2 + source % SOURCES}", 0))
    stream.connect(("127.0.0.1", server.port()))
    return context.wrap_socket(stream, server_hostname="127.0.0.1")


def _idle(server, context, source):
    """A connection that has asked once and is kept."""
    stream = _connected(server, context, source)
    require(_asks(stream) == 200, "a new connection is not answered")
    return stream


def _asks(stream):
    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = http.client.HTTPResponse(stream)
    answer.begin()
    answer.read()
    return answer.status


def _resets(checks, server):
    """Requests that are given up the moment they are made, over HTTP/2."""
    h2 = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    h2.set_alpn_protocols(["h2"])

    def flood():
        with contextlib.suppress(OSError), _connected(server, h2, 4) as stream:
            stream.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
            for number in range(2000):
                ask = headers(1 + 2 * number, GET, "/console/sign-in", END_STREAM)
                stream.sendall(ask + frame(RST_STREAM, 0, 1 + 2 * number, struct.pack("!I", 8)))

    floods = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
    for thread in floods:
        thread.start()
    _works(checks, server, "a flood of resets")
    for thread in floods:
        thread.join(30)
