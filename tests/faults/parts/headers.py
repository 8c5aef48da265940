"""Requests that HTTP itself refuses before any router sees them: their answers are hardened like all others."""

import socket
import tempfile

from instance import Instance, require

REQUIRED = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
UNREADABLE = {
    "no HTTP at all": (b"hello\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    "a host with a space": (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "two hosts in one header": (b"GET /console HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    "a host with a user in the address": (b"GET http://u@a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "40 KiB of headers": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + 40_000 * b"a" + b"\r\n\r\n", 431),
    "200 headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % at for at in range(200)) + b"\r\n", 431),
    "an address of 70,000 characters": (b"GET /" + 70_000 * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "after an answer on the same connection": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", None),
}


def play(checks, arguments):
    with tempfile.TemporaryDirectory(prefix="crossfade-headers-") as directory:
        server = Instance(arguments.binary, directory, None)
        server.environment["CROSSFADE_PUBLIC_URL"] = "https://auth.example.com"
        server.environment["CROSSFADE_TRUSTED_PROXIES"] = "192.0.2.0/24"
        try:
            server.start()
            for name, (request, status) in UNREADABLE.items():
                checks.run(f"the answer to {name} is hardened", refused, server, request, status)
        finally:
            server.stop()


def refused(server, request, status):
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=5) as stream:
        stream.sendall(request)
        if status is None:
            head(stream)
            stream.sendall(b"nonsense\r\n\r\n")
            status = 400
        line, headers = head(stream)
    require(line.split()[1] == str(status), f"{line}, not {status}")
    for name, value in {**REQUIRED, "strict-transport-security": "max-age=31536000"}.items():
        require(headers.count((name, value)) == 1, f"{name} is not sent once: {headers}")


def head(stream):
    """The status line and the headers of an answer; its body, which is short, is read away."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = stream.recv(4096)
        except ConnectionResetError:
            more = b""
        require(more, f"no answer but {data!r}")
        data += more
    line, *rest = data.split(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = [header.split(": ", 1) for header in rest]
    return line, [(name.lower(), value) for name, value in pairs]
