"""`crossfade secret watch` on a terminal of 60 columns: a server that comes later, one that goes, Ctrl-C, a time limit."""

import os
import re
import signal
import socket
import subprocess
import time

from instance import eventually, free_port
from terminal import COLUMNS, terminal
from watched import holds, watched

def serve_at(server, address):
    server.url = f"http://{address}"
    server.environment["CROSSFADE_URL"] = server.url
    with open(server.log, "a") as log:
        server.process = subprocess.Popen(
            [server.binary, "serve", "--listen", address, *server.place],
            env=server.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )


def play(checks, arguments):
    with watched(arguments) as server:
        server.token()
        body = {"transition_hours": 24, "confirm_client_name": "Billing", "reason": "check"}
        server.api("POST", f"{server.path}/secrets/rotate", body)
        address = f"127.0.0.1:{free_port()}"
        server.stop()
        environment = server.environment | {"CROSSFADE_URL": f"http://{address}"}
        watch = [server.binary, "secret", "watch", "Billing", "--env", "production"]
        _later(checks, server, watch, environment, address)
        _prompt(checks, server, environment)
        server.stop()
        _time_limit(checks, watch, environment)
        _spinner(checks, server, environment)


def _later(checks, server, watch, environment, address):
    with terminal(watch, environment) as watching:
        holds(checks, watching.read(8, "Retrying every"), "the watch waits for a server that is down", watching.text)
        said = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*Cannot reach", watching.text)
        holds(checks, said is not None, "it says so with the time", watching.text)
        watching.read(3)
        count = watching.text.count("Retrying every")
        holds(checks, count == 1, "it says so once", f"{count} times")
        holds(checks, watching.process.poll() is None, "it goes on")

        serve_at(server, address)
        holds(checks, watching.read(25, "The server responds again"), "it notices the server", watching.text[-500:])
        holds(checks, watching.read(5, "new secret not used yet"), "it shows how things stand", watching.text[-500:])
        server.process.terminate()
        server.process.wait(20)
        holds(checks, watching.read(15, "no response for"), "it waits for a server that goes", watching.text[-500:])
        serve_at(server, address)
        checks.run("the server is back", eventually, server._ready, 20)
        watching.read(6)
        # What says a thing once may take more than a line; what is drawn again and again must not.
        redrawn = [line for line in watching.drawn() if "ends in" in line or "no response for" in line]
        widest = max(len(line.rstrip()) for line in redrawn)
        holds(checks, widest <= COLUMNS, "no drawn line wraps", f"{widest} columns: {redrawn[-1]!r}")
        holds(checks, any("ends in 2" in line for line in redrawn), "the end is not cut off", redrawn[-1])

        _interrupt(checks, watching, "the watch")
        holds(checks, "\x1b[?25l" not in watching.text or watching.text.rstrip().endswith("\x1b[?25h"),
              "the cursor is left visible", repr(watching.text[-120:]))


def _interrupt(checks, shown, what):
    os.write(shown.controller, b"\x03")
    shown.read(5)
    status = shown.process.wait(10)
    holds(checks, status in (130, -signal.SIGINT), f"{what}: Ctrl-C ends it", f"status {status}")
    holds(checks, shown.last_line().strip() == "", f"{what}: the cursor is left on a clean line", repr(shown.text[-120:]))


def _prompt(checks, server, environment):
    rotate = [server.binary, "secret", "rotate", "Billing", "--env", "production", "--transition", "0",
              "--end-running-transition", "--show"]
    with terminal(rotate, environment) as asking:
        holds(checks, asking.read(10, "Type the client"), "a prompt asks", asking.text)
        _interrupt(checks, asking, "a prompt")
    newest = server.api("GET", f"{server.path}/rotations")["items"]
    holds(checks, len(newest) == 1, "nothing was rotated", str(len(newest)))


def _spinner(checks, server, environment):
    """A server that takes a connection and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with terminal([server.binary, "client", "list"], environment | {"CROSSFADE_URL": url}) as waiting:
            holds(checks, waiting.read(10, "Waiting for the server"), "a spinner shows", waiting.text)
            _interrupt(checks, waiting, "a spinner")


def _time_limit(checks, watch, environment):
    begun = time.monotonic()
    with terminal([*watch, "--timeout", "3s"], environment) as watching:
        watching.read(30, "was not met within")
        status = watching.process.wait(10)
        took = time.monotonic() - begun
        holds(checks, status == 6 and 2 < took < 25, "a watch ends with its time", f"status {status} after {took:.1f} s")
        holds(checks, "was not met within 3 s" in watching.text, "it says which time", watching.text[-300:])
    # Where nothing can be drawn there are lines.
    done = subprocess.run([*watch, "--timeout", "3s"], env=environment, capture_output=True, text=True, timeout=30)
    lines = done.stderr.splitlines()
    holds(checks, done.returncode == 6 and len(lines) == 2 and "\x1b" not in done.stderr and not done.stdout,
          "a watch in a pipeline says it in lines", done.stderr)
