"""A server stands still for longer than its lease while another one ends a secret. When it wakes, it never accepts it."""

import base64
import contextlib
import signal
import socket
import tempfile
import time
import urllib.parse

from cluster import Cluster
from watched import Watched, holds

LEASE = 10
ROUNDS = 2
WAITING = 8


def play(checks, arguments):
    with Cluster(arguments.postgres_bin, settings=("fsync=off",)) as cluster:
        for number in range(ROUNDS):
            cluster.execute(f"CREATE DATABASE round{number}")
            one_round(checks, arguments, cluster, f"round{number}")


def one_round(checks, arguments, cluster, database):
    what = f"{database}: a server stands still"
    url = f"postgres://crossfade@127.0.0.1:{cluster.port}/{database}"
    with (
        tempfile.TemporaryDirectory(prefix="crossfade-still-") as directory,
        tempfile.TemporaryDirectory(prefix="crossfade-awake-") as other_directory,
        server_with_lease(arguments, url, directory) as still,
    ):
        old = still.secret
        holds(checks, still.token().status_code == 200, f"{what}: its secret works before")
        connections = [connected(still) for _ in range(2 * WAITING)]
        awake = still.beside(other_directory)
        still.process.send_signal(signal.SIGSTOP)
        try:
            awake.start_again()
            for connection in connections[:WAITING]:
                send(still, connection, old)
            begun = time.monotonic()
            answer = awake.change(compromised=True)
            took = time.monotonic() - begun
            for connection in connections[WAITING:]:
                send(still, connection, old)
        finally:
            still.process.send_signal(signal.SIGCONT)
        holds(checks, answer.status_code == 201, f"{what}: the other one ends its secret", answer.text)
        holds(checks, took < LEASE + 2, f"{what}: the reply waits for its lease at most", f"{took:.1f} s")
        known = sorted(node["known_by"] for node in answer.json()["enforced"]["nodes"])
        holds(checks, known == ["acknowledged", "lease_ended"], f"{what}: the reply says so", answer.text)
        before = [status(connection) for connection in connections[:WAITING]]
        after = [status(connection) for connection in connections[WAITING:]]
        print(f"{what}: the reply took {took:.1f} s; sent before it: {before}, after it: {after}")
        holds(checks, 200 not in after, f"{what}: no token by the ended secret when it wakes", str(after))
        still.secret = awake.secret
        still.eventually(checks, lambda: decides(still), f"{what}: it decides again with a new lease")
        holds(checks, awake.token().status_code == 200, f"{what}: the new secret works")
        awake.stop()


def decides(server):
    found = server.token()
    assert found.status_code == 200, found.text


@contextlib.contextmanager
def server_with_lease(arguments, url, directory):
    server = Watched(arguments.binary, directory, url)
    server.environment["CROSSFADE_LEASE_SECONDS"] = str(LEASE)
    try:
        server.start()
        server.create_client()
        yield server
    finally:
        server.stop()


def connected(server):
    """A kept connection, over which a token was issued."""
    where = urllib.parse.urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    send(server, connection, server.secret)
    assert status(connection) == 200
    return connection


def send(server, connection, secret):
    body = b"grant_type=client_credentials"
    pair = base64.b64encode(f"{server.client_id}:{secret}".encode()).decode()
    path = urllib.parse.urlsplit(server.issuer("production")).path + "/oauth2/token"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {pair}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def status(connection):
    """The status of the next answer; None if the connection ended without one."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            more = connection.recv(65_536)
            if not more:
                return None
            received += more
        length = int(received.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(received.split(b"\r\n\r\n", 1)[1]) < length:
            received += connection.recv(65_536)
    except OSError:
        return None
    return int(received.split(b" ", 2)[1])
