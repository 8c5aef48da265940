"""Floods of connections that ask nothing, read nothing or are never done, while an honest client asks for tokens."""

import argparse
import contextlib
import os
import pathlib
import re
import resource
import select
import socket
import struct
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from harness import Registration
from instance import instance, require

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
GET, POST = b"\x82", b"\x83"
# The machine may run other things besides; a flood that starves the server costs minutes.
SOON = 8
DOCUMENT = "/api/openapi.json"


def play(checks, arguments):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard >= 4096, f"this part opens 3,000 sockets; the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with limited(arguments, "ulimit -S -n 256") as server:
            checks.run("the soft limit of open files is raised", soft_limit_is_raised, server)
            checks.run("the server waits while the system gives no descriptors", descriptors_run_out, server)
        with limited(arguments, "ulimit -n 1024") as server, ThreadPoolExecutor(16) as pool:
            floods(checks, server, pool, lambda: bounds(checks, arguments))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def limited(arguments, limit, **settings):
    """A server under a limit of open files, with an honest client."""
    with tempfile.TemporaryDirectory(prefix="crossfade-limited-") as directory:
        script = pathlib.Path(directory) / "crossfade"
        binary = pathlib.Path(arguments.binary).resolve()
        exports = "".join(f"export {name}={value}\n" for name, value in settings.items())
        # Only the server has the settings: the commands that fill it would not know them all.
        script.write_text(f'#!/bin/sh\nif [ "$1" = serve ]; then\n{limit}\n{exports}fi\nexec {binary} "$@"\n')
        script.chmod(0o755)
        with instance(argparse.Namespace(binary=script, database_url=None)) as server:
            server.address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            item = server.api("POST", "/properties", {"name": "Connections"})
            server.honest = Registration(server, item["id"], "Honest")
            yield server


def soft_limit_is_raised(server):
    line = re.search(r"Max open files +(\d+) +(\d+)", pathlib.Path(f"/proc/{server.process.pid}/limits").read_text())
    require(line[1] == line[2], f"soft {line[1]}, hard {line[2]}")
    require("connection limits" in server.log.read_text(), "the log does not tell the limits")


def descriptors_run_out(server):
    pid = server.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = processor_seconds(pid)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        with connect(server) as stream:
            time.sleep(1.5)
            require(server.process.poll() is None, "the server ended")
            used = processor_seconds(pid) - before
            require(used < 0.5, f"the server used {used:.2f} s of the processor while it waited for 1.5 s")
            lines = server.log.read_text().count("cannot accept connections")
            require(lines == 1, f"the log tells it {lines} times")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            require(stream.recv(100).startswith(b"HTTP/1.1 200"), "the waiting connection is not answered")
        token(server)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def refused_at_start(arguments, settings):
    try:
        with limited(arguments, "ulimit -n 1024", **settings):
            raise AssertionError("the server starts")
    except RuntimeError as error:
        require("leaves 768 for connections" in str(error), f"it says: {error}")


def bounds(checks, arguments):
    with limited(arguments, "ulimit -n 1024", CROSSFADE_IDLE_SECONDS="2", CROSSFADE_MAX_CONNECTIONS="40",
                 CROSSFADE_MAX_CONNECTIONS_PER_SOURCE="5", CROSSFADE_TRUSTED_PROXIES="127.0.0.7") as server:
        checks.run("a kept connection ends after the idle time of the setting", idle_connections_end, server)
        checks.run("an HTTP/2 connection ends after the idle time, though it answers pings", idle_streams_end, server)
        checks.run("a source at its limit is refused, and no other", source_is_limited, server)
        checks.run("a declared proxy is limited by the total alone", proxy_is_not_limited, server)
    wrong = dict(CROSSFADE_MAX_CONNECTIONS="769")
    checks.run("more connections than open files allow are refused at start", refused_at_start, arguments, wrong)


# The floods, all within the time that an unread answer has.


def floods(checks, server, pool, meanwhile):
    with contextlib.ExitStack() as stack:
        checks.run("a token before the floods", token, server)
        before = memory(server)
        kept, streams = stack.enter_context(Kept(server)), stack.enter_context(KeptStreams(server))
        silences = [pool.submit(it.asks_after, 20) for it in (kept, streams)]

        begun = time.monotonic()
        unread = [stack.enter_context(Unread(server, ask)) for ask in [ask_streams] * 100 + [ask_pipelined] * 60]
        stalled = stack.enter_context(StalledStreams(server))
        slow = pool.submit(reads_slowly, server)
        checks.run("a token while answers are not read", token, server)
        time.sleep(2)
        checks.run("unread answers cost no copies", memory_is_bounded, server, before)

        first = stack.enter_context(Flood(server, 1100, b"P", "127.0.0.1"))
        ends = {"one byte of the preface": pool.submit(all_end, first, time.monotonic(), 9, 20)}
        checks.run("a token while connections send one byte of the preface", token, server)
        for source, (name, half) in enumerate({
            "half a preface": PREFACE[:16], "a preface": PREFACE, "half a head": b"GET /healthz HTTP/1.1\r\nHost: a\r\n",
            "nothing": b"",
        }.items()):
            flood = stack.enter_context(Flood(server, 60, half, f"127.0.0.{20 + source}"))
            ends[name] = pool.submit(all_end, flood, time.monotonic(), 9, 20)
            checks.run(f"a token while connections send {name}", token, server)
        drip = stack.enter_context(Flood(server, 50, b"GET /healthz HTTP/1.1\r\nX: ", "127.0.0.30"))
        pool.submit(drip.drip)
        ends["headers slowly"] = pool.submit(all_end, drip, time.monotonic(), 8, 20)
        checks.run("a flood of resets does not delay a token", resets, server)
        meanwhile()
        for name, end in ends.items():
            checks.run(f"connections that send {name} end with the time for headers", end.result)
        checks.run("a connection kept for 20 s of silence still asks (HTTP/1.1)", silences[0].result)
        checks.run("a connection kept for 20 s of silence still asks (HTTP/2)", silences[1].result)
        checks.run("connections whose answers are not read end after 30 s", all_unread_end, unread, begun)
        checks.run("HTTP/2 answers without a window end after 30 s, though pings are answered", stalled.ends, begun)
        checks.run("an answer that is read slowly is not ended", slow.result)
        checks.run("the metrics tell why connections ended", metrics_tell, server)
        checks.run("a token at the end of the floods", token, server)
        checks.run("unread answers left no memory behind", memory_is_bounded, server, before)
        stack.enter_context(Flood(server, 300, b"P", "127.0.0.1"))
        checks.run("a stop during a flood is quick, and closes a kept connection", stops, server, kept)


def token(server):
    """A new connection and a token, soon."""
    begun = time.monotonic()
    answer = requests.post(f"{server.issuer('production')}/oauth2/token", data={"grant_type": "client_credentials"},
                           auth=(server.honest.client_id, server.honest.secret["value"]), timeout=SOON)
    require(answer.status_code == 200, f"the token endpoint answers {answer.status_code}: {answer.text}")
    took = time.monotonic() - begun
    require(took < SOON, f"a token takes {took:.1f} s")


def memory(server):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1]) // 1024


def memory_is_bounded(server, before):
    now = memory(server)
    require(now < before + 100, f"the server grew from {before} to {now} MiB")


def connect(server, source="127.0.0.1", receive_bytes=None):
    stream = socket.socket()
    if receive_bytes:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    stream.settimeout(SOON)
    stream.bind((source, 0))
    stream.connect(server.address)
    return stream


def is_closed(stream):
    """Whether the other end has closed; what it sent is read and dropped."""
    stream.setblocking(False)
    try:
        while True:
            if not stream.recv(65536):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


class Flood(contextlib.ExitStack):
    """Connections that send the same few bytes."""

    def __init__(self, server, number, half, source):
        super().__init__()
        self.streams = [self.enter_context(connect(server, source)) for _ in range(number)]
        for stream in self.streams:
            with contextlib.suppress(OSError):  # it gave way to a newer one
                stream.sendall(half)

    def drip(self):
        for _ in range(20):
            time.sleep(1)
            for stream in self.streams:
                with contextlib.suppress(OSError):
                    stream.send(b"x")


def all_end(flood, begun, least, most):
    """All connections of a flood end; those that were not displaced at `least` seconds or later."""
    left, last = flood.streams, 0
    while left and time.monotonic() < begun + most:
        left = [stream for stream in left if not is_closed(stream)]
        last = time.monotonic() - begun
        time.sleep(0.1)
    require(not left, f"{len(left)} connections are open after {most} s")
    require(last >= least, f"the last connection ended after {last:.1f} s")


class Unread:
    """A connection that asks for much and reads nothing."""

    def __init__(self, server, ask):
        self.stream = connect(server, source="127.0.0.3", receive_bytes=4096)
        ask(self.stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def is_over(self):
        # Not by reading: what is unread must stay unread.
        poller = select.poll()
        poller.register(self.stream, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        return bool(poller.poll(0))


def ask_streams(stream):
    """32 streams with a window of 0 (RFC 9113 §6.9.2)."""
    asks = [headers(1 + 2 * number, GET, DOCUMENT, END_STREAM) for number in range(32)]
    stream.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 0)) + b"".join(asks))


def ask_pipelined(stream):
    stream.sendall(f"GET {DOCUMENT} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 20)


def reads_slowly(server):
    """Reads some 8 kB a second through a small window: slow, and still progress."""
    begun = time.monotonic()
    with connect(server, source="127.0.0.8", receive_bytes=4096) as stream:
        stream.sendall(f"GET {DOCUMENT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        stream.settimeout(10)
        length = 0
        while part := stream.recv(3000):
            length += len(part)
            time.sleep(0.25)
    whole = len(requests.get(f"{server.url}{DOCUMENT}", timeout=SOON).content)
    require(length > whole, f"{length} bytes of {whole} and their headers arrived")
    took = time.monotonic() - begun
    require(took > 62, f"the document took {took:.0f} s, which shows nothing about the timeouts of up to a minute")


def all_unread_end(unread, begun):
    while not all(it.is_over() for it in unread):
        # A client that takes no window may still answer pings; here those go unanswered after some time, too.
        require(time.monotonic() < begun + 38, f"{sum(not it.is_over() for it in unread)} connections are open")
        time.sleep(0.3)


def resets(server):
    """Requests that are given up the moment they are made, on connections that say so as fast as they can."""
    def flood():
        with contextlib.suppress(OSError), connect(server, source="127.0.0.4") as stream:
            stream.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
            for number in range(3000):
                ask = headers(1 + 2 * number, GET, "/console/sign-in", END_STREAM)
                stream.sendall(ask + frame(RST_STREAM, 0, 1 + 2 * number, struct.pack("!I", 8)))
    floods = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
    for it in floods:
        it.start()
    token(server)
    for it in floods:
        it.join(20)
    token(server)


def metrics_tell(server):
    text = requests.get(f"{server.url}/metrics", timeout=SOON).text
    for reason in ["displaced", "headers", "stalled"]:
        count = re.search(rf'crossfade_connections_ended_total{{reason="{reason}"}} (\d+)', text)
        require(count and int(count[1]) > 0, f"nothing is counted as {reason}: {text}")
    count = re.search(r"^crossfade_connections (\d+)", text, re.MULTILINE)
    require(count and 0 < int(count[1]) < 768, f"the open connections: {count and count[0]}")


def stops(server, kept):
    begun = time.monotonic()
    server.process.terminate()
    while not is_closed(kept.stream):
        require(time.monotonic() < begun + SOON, "a kept connection is still open")
        time.sleep(0.05)
    require(server.process.wait(13) == 0, f"the server exits {server.process.returncode}")
    took = time.monotonic() - begun
    require(took < 12, f"the stop takes {took:.1f} s")


# Honest clients that keep their connection.


class Kept:
    """An HTTP/1.1 connection that has asked once."""

    def __init__(self, server, source="127.0.0.2"):
        self.server = server
        self.stream = connect(server, source)
        self.ask()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def ask(self):
        self.stream.setblocking(True)
        self.stream.settimeout(SOON)
        honest = self.server.honest
        body = f"grant_type=client_credentials&client_id={honest.client_id}&client_secret={honest.secret['value']}"
        self.stream.sendall(
            f"POST /env/production/oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}".encode())
        answer = self.stream.recv(65536)
        require(answer.startswith(b"HTTP/1.1 200"), f"the answer: {answer[:100]}")
        self.asked_at = time.monotonic()

    def asks_after(self, seconds):
        time.sleep(max(0, self.asked_at + seconds - time.monotonic()))
        self.ask()


class KeptStreams(Kept):
    """An HTTP/2 connection that has asked once and answers pings."""

    def __init__(self, server, source="127.0.0.2"):
        self.next, self.buffer = 1, b""
        self.server = server
        self.stream = connect(server, source)
        self.stream.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        self.ask()

    def ask(self):
        honest, number = self.server.honest, self.next
        self.next += 2
        body = f"grant_type=client_credentials&client_id={honest.client_id}&client_secret={honest.secret['value']}".encode()
        form = literal(31, "application/x-www-form-urlencoded")
        self.stream.settimeout(SOON)
        self.stream.sendall(headers(number, POST, "/env/production/oauth2/token", 0, form) +
                            frame(DATA, END_STREAM, number, body))
        deadline = time.monotonic() + SOON
        answer = self.pump(deadline, number)
        # ":status: 200" is entry 8 of the static table (RFC 7541 Appendix A).
        require(answer and answer[:1] == b"\x88", f"the answer: {answer}")
        self.asked_at = time.monotonic()

    def pump(self, deadline, number=None):
        """Answers settings and pings until the headers of a stream arrive. Returns them, or None at the deadline."""
        found = None
        while time.monotonic() < deadline:
            while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3]):
                length, kind, flags = int.from_bytes(self.buffer[:3]), self.buffer[3], self.buffer[4]
                stream, payload = int.from_bytes(self.buffer[5:9]), self.buffer[9:9 + length]
                self.buffer = self.buffer[9 + length:]
                if kind in (SETTINGS, PING) and not flags & ACK:
                    self.stream.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                if kind == HEADERS and stream == number:
                    found = payload
                if kind in (HEADERS, DATA) and stream == number and flags & END_STREAM:
                    return found
            with contextlib.suppress(TimeoutError):
                self.stream.settimeout(0.2)
                more = self.stream.recv(65536)
                require(more, "the connection is closed")
                self.buffer += more
        return None

    def asks_after(self, seconds):
        self.pump(self.asked_at + seconds)
        self.ask()


class StalledStreams(KeptStreams):
    """Answers that get no window, on a connection that answers pings."""

    def __init__(self, server):
        self.buffer = b""
        self.stream = connect(server, "127.0.0.5")
        ask_streams(self.stream)
        self.ended = ThreadPoolExecutor(1).submit(self.wait, time.monotonic() + 45)

    def wait(self, deadline):
        with contextlib.suppress(AssertionError, OSError):
            self.pump(deadline)
        return time.monotonic()

    def ends(self, begun):
        took = self.ended.result() - begun
        require(28 < took < 38, f"the connection ended after {took:.1f} s")


def idle_connections_end(server):
    kept = Kept(server)
    kept.asks_after(1)
    while not is_closed(kept.stream):
        require(time.monotonic() < kept.asked_at + 5, "it is open after 5 s")
        time.sleep(0.1)
    took = time.monotonic() - kept.asked_at
    require(took > 1.8, f"it is closed after {took:.1f} s")


def idle_streams_end(server):
    kept = KeptStreams(server)
    kept.asks_after(1)
    begun = kept.asked_at
    try:
        kept.pump(begun + 5)
    except (AssertionError, OSError):
        took = time.monotonic() - begun
        require(1.8 < took, f"it is closed after {took:.1f} s")
        return
    raise AssertionError("it is open after 5 s")


# Bounds.


def busy(server, source):
    """A connection with a request under way: half of its body is still to come."""
    stream = connect(server, source)
    stream.sendall(b"POST /env/production/oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 80\r\n"
                   b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type=")
    return stream


def source_is_limited(server):
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(busy(server, "127.0.0.6")) for _ in range(5)]
        time.sleep(0.5)
        refused = stack.enter_context(connect(server, "127.0.0.6"))
        time.sleep(0.5)
        require(is_closed(refused), "a sixth connection is let in")
        token(server)
        require(not any(map(is_closed, taken)), "a request under way was ended")
        taken[0].close()
        time.sleep(0.5)
        Kept(server, "127.0.0.6").stream.close()


def proxy_is_not_limited(server):
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(busy(server, "127.0.0.7")) for _ in range(30)]
        time.sleep(0.5)
        require(not any(map(is_closed, taken)), "a proxy is limited like others")
        token(server)
        taken += [stack.enter_context(busy(server, "127.0.0.7")) for _ in range(15)]
        time.sleep(0.5)
        require(sum(map(is_closed, taken)) >= 5, "there is no limit in all")


# HTTP/2 by hand (RFC 9113, RFC 7541).


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def literal(name, value):
    """A header without indexing, its name from the static table."""
    value = value.encode()
    require(len(value) < 127, "a longer value takes more than one byte of length")
    index = bytes([name]) if name < 15 else bytes([15, name - 15])
    return index + bytes([len(value)]) + value


def headers(stream, method, path, flags, more=b""):
    block = method + b"\x86" + literal(4, path) + literal(1, "a") + more
    return frame(HEADERS, flags | END_HEADERS, stream, block)
