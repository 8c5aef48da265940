"""Signals that would end a process do not end a server, and a stop loses no evidence."""

import signal
import time

from instance import require
from watched import holds, watched

IGNORED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
TOKENS = 3


def play(checks, arguments):
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
            holds(checks, time.monotonic() - begun < 12, f"{number.name} stops the server soon")
            server.start_again()
            [found] = server.api("GET", f"{server.path}/secrets")["items"]
            holds(checks, found["use_count"] == expected, f"{number.name} loses no evidence",
                  f"{found['use_count']} of {expected}")
