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
FORM = b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
# What a proxy that reads the body to another end takes for the next request.
HIDDEN = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
# RFC 9112 §6.1: the body has one end, or the connection has one.
TWO_ENDS = {
    "a length before chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks before a length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
}
UNREADABLE = {
    "no HTTP at all": (b"hello\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    "a host with a space": (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "two hosts in one header": (b"GET /console HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    "a host with a user in the address": (b"GET http://u@a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "chunks that are not the last coding": (FORM + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + HIDDEN, 400),
    "a coding that is none": (FORM + b"Transfer-Encoding: xchunked\r\n\r\n" + HIDDEN, 400),
    "a coding with a space before its colon": (FORM + b"Transfer-Encoding : chunked\r\n\r\n" + HIDDEN, 400),
    "chunks in HTTP/1.0": (FORM.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + HIDDEN, 400),
    "a length with a sign": (FORM + b"Content-Length: +5\r\n\r\nhello", 400),
    "a list of lengths": (FORM + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "a length that is no number": (FORM + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "a header over two lines": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 400),
    "a NUL in a header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
    "a CR in a header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400),
    "40 KiB of headers": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + 40_000 * b"a" + b"\r\n\r\n", 431),
    "200 headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % at for at in range(200)) + b"\r\n", 431),
    "an address of 70,000 characters": (b"GET /" + 70_000 * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "after an answer on the same connection": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", None),
}
# RFC 9112 §7.1: what is no chunk is not a body that is too large.
BROKEN = {
    "a chunk whose length is no number": b"xyz\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": b"2\r\nhello\r\n0\r\n\r\n",
    "a chunk with a length beyond 64 bits": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
}
DOORS = {
    "token": ("/env/production/oauth2/token", "application/x-www-form-urlencoded"),
    "API": ("/api/v1/properties", "application/json"),
    "Console": ("/console/sign-in", "application/x-www-form-urlencoded"),
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
            for name, lengths in TWO_ENDS.items():
                checks.run(f"{name}: one answer, and the connection ends", answered_once, server, FORM + lengths + HIDDEN)
            for name, chunks in BROKEN.items():
                for door in DOORS:
                    checks.run(f"{name} is a bad request: {door}", broken, server, door, chunks)
        finally:
            server.stop()


def broken(server, door, chunks):
    path, kind = DOORS[door]
    head_of_it = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Authorization: {server.session.headers['Authorization']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=5) as stream:
        stream.sendall(head_of_it.encode() + chunks)
        line, _ = head(stream)
    require(line.split()[1] == "400", f"{line}, not 400")


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


def answered_once(server, request):
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=20) as stream:
        stream.sendall(request)
        data = b""
        try:
            while more := stream.recv(4096):
                data += more
        except ConnectionResetError:
            pass
    require(data.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 ")), f"answered {data!r}")
    require(data.count(b"HTTP/1.1 ") == 1, f"what is hidden in the body is answered: {data!r}")


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
