"""Signals that would end a process do not end a server, and a stop loses no evidence."""

import os
import signal
import subprocess
import tempfile
import time

from instance import free_port, require
from watched import holds, watched

IGNORED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
TOKENS = 3


def play(checks, arguments):
    _server(checks, arguments)
    _demo(checks, arguments)


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
