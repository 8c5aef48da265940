#!/usr/bin/env python3
"""Whether the time of a refusal reveals why it was refused, measured as dudect does: Welch's t over interleaved requests.

    tests/timing/run.py --binary target/release/crossfade --samples 20000

Not a gate: what it measures depends on the machine. That the bytes of all refusals are equal is a gate; see
crates/crossfade/tests/it/rules/one_refusal.rs.
"""

import base64
import collections
import math
import pathlib
import random
import secrets
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]

from instance import frame, instance, require  # noqa: E402
from harness import Registration  # noqa: E402

MAXIMUM_SECONDS = 7200
# Failures of a client_id from one network before it is throttled, less some that were there before.
FAILURES_PER_NETWORK = 90
# As long as those that are given out, and given to nobody.
UNKNOWN = ["7hQ2mZr0TxK4bVnW9cLpYs", "3dFgN8uJkA1eRtH6oXwMiC", "5yBvE0sPqU7zLjD2nGaKfT"]
# The slowest samples are mostly the machine's. Each share that is kept is tested on its own, and the greatest t counts.
KEPT = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5]
# dudect: below, nothing was found; beyond twice as much, there is a difference.
THRESHOLD = 4.5


class Caller:
    """One kept connection from a network of its own: of 127.0.0.0/8 each /24 is one."""

    def __init__(self, server, network):
        self.host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((self.host, int(port)), 30, (f"127.{network >> 8 & 255}.{network & 255}.9", 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, client_id, secret):
        """One request for a token; returns its nanoseconds, status and answer without the date."""
        credentials = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        body = "grant_type=client_credentials"
        request = (
            f"POST /env/production/oauth2/token HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Basic {credentials}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        begun = time.perf_counter_ns()
        self.socket.sendall(request)
        answer = self.socket.recv(65536)
        took = time.perf_counter_ns() - begun
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(rest) < length:
            rest += self.socket.recv(65536)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"date:", b"x-request-id:"))]
        return took, int(head.split(b" ", 2)[1]), b"\r\n".join(lines) + rest


def cases(server):
    """Credentials by the reason for which they are refused; the registrations are alike otherwise."""
    prop = server.api("POST", "/properties", {"name": "Timing"})["id"]
    made = lambda name: Registration(server, prop, name)  # noqa: E731
    wrong, other, running, ended, revoked, off, right = map(
        made, ["wrong", "other", "running", "ended", "revoked", "off", "right"])
    running.rotate(24)
    was_ended = ended.secret["value"]
    ended.rotate(0)
    was_revoked = revoked.secret
    revoked.rotate(24)
    server.api("POST", f"{revoked.path}/secrets/{was_revoked['id']}/revoke", {"reason": "timing"})
    off.update(enabled=False, confirm_client_name="off")
    stranger = other.secret["value"]
    # Each asks about one client_id again and again, as somebody would who wants to know about that one.
    return {
        "unknown client": lambda: (UNKNOWN[0], stranger),
        "another unknown client": lambda: (UNKNOWN[1], stranger),
        "wrong secret": lambda: (wrong.client_id, stranger),
        "wrong secret in a transition": lambda: (running.client_id, stranger),
        "retired secret": lambda: (ended.client_id, was_ended),
        "revoked secret": lambda: (revoked.client_id, was_revoked["value"]),
        "disabled registration": lambda: (off.client_id, off.secret["value"]),
        "right secret, which is not refused": lambda: (right.client_id, right.secret["value"]),
    }


def measure(server, classes, samples, chance, status):
    """Times by class, of the answers that have this status; in random order, so that drift meets all classes alike."""
    times, answers, network = collections.defaultdict(list), collections.defaultdict(set), 256
    while min((len(times[name]) for name in classes), default=0) < samples:
        network += 1
        caller = Caller(server, network)
        order = [name for name in classes for _ in range(FAILURES_PER_NETWORK)]
        chance.shuffle(order)
        for name in order:
            took, found, answer = caller.ask(*classes[name]())
            if found == status.get(name, 401):
                times[name].append(took)
                answers[name].add(answer)
        caller.socket.close()
    return times, answers


def throttled(server, client_ids, samples, chance):
    """Times of the 429, for a client_id that exists and one that does not."""
    caller, times, answers = Caller(server, 1), collections.defaultdict(list), collections.defaultdict(set)
    for client_id in client_ids.values():
        for _ in range(2 * FAILURES_PER_NETWORK):
            caller.ask(client_id, "no secret")
    order = list(client_ids) * samples
    chance.shuffle(order)
    for name in order:
        took, status, answer = caller.ask(client_ids[name], "no secret")
        if status == 429:
            times[name].append(took)
            answers[name].add(answer)
    return times, answers


def welch(left, right):
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    a, b = mean(left), mean(right)
    variance = lambda values, middle: sum((it - middle) ** 2 for it in values) / (len(values) - 1)  # noqa: E731
    return (a - b) / math.sqrt(variance(left, a) / len(left) + variance(right, b) / len(right) or 1)


def compare(baseline, other):
    """The greatest t of all crops, which are the same for both classes, and the difference of the medians."""
    both = sorted([*baseline, *other])
    found = 0.0
    for kept in KEPT:
        limit = both[min(len(both) - 1, int(len(both) * kept))]
        found = max(found, welch([it for it in baseline if it <= limit], [it for it in other if it <= limit]), key=abs)
    median = lambda values: sorted(values)[len(values) // 2]  # noqa: E731
    return found, median(other) - median(baseline)


def tell(times, baseline):
    for name, found in times.items():
        if name == baseline:
            continue
        t, difference = compare(times[baseline], found)
        verdict = "no difference found" if abs(t) < THRESHOLD else "suspicious" if abs(t) < 2 * THRESHOLD else "different"
        print(f"| {name} | {len(found):,} | {difference / 1000:+.2f} µs | {abs(t):.1f} | {verdict} |", flush=True)


def play(checks):
    alone = type(arguments)(**{**vars(arguments), "database_url": None})
    seed = arguments.seed or secrets.token_hex(4)
    chance, begun = random.Random(seed), time.monotonic()
    print(f"timing: --seed {seed}, compared with an unknown client\n")
    print("| refused because | samples | difference of medians | greatest t | |\n|---|---|---|---|---|")
    with instance(alone) as server:
        classes = cases(server)
        passes = "right secret, which is not refused"
        times, answers = measure(server, classes, arguments.samples, chance, {passes: 200})
        tell(times, "unknown client")
        refused = set().union(*(found for name, found in answers.items() if name != passes))
        checks.run("the bytes of every refusal are the same", require, len(refused) == 1, str(refused))
        ids = {"throttled, unknown client": UNKNOWN[2], "throttled, another unknown client": UNKNOWN[1],
               "throttled, existing client": classes["wrong secret"]()[0]}
        times, answers = throttled(server, ids, arguments.samples, chance)
        tell(times, "throttled, unknown client")
        limited = set().union(*answers.values())
        checks.run("the bytes of every 429 are the same", require, len(limited) == 1, str(limited))
    print(f"\n{time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    parser = frame.options(__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000, help="of each class")
    parser.add_argument("--seed", help="of the order of the requests")
    arguments = parser.parse_args()
    frame.run("timing", MAXIMUM_SECONDS, play)
