"""`crossfade secret watch` on a terminal of 60 columns: a server that comes later, one that goes, Ctrl-C, a time limit."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from instance import eventually, free_port, require
from watched import holds, watched

COLUMNS = 60
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, environment):
        self.controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, env=environment | {"TERM": "xterm"}, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self.text = ""

    def read(self, seconds, until=None):
        """Reads for a while, or until a text is there; tells whether it is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if until and until in self.text:
                return True
            ready, _, _ = select.select([self.controller], [], [], 0.1)
            if ready:
                try:
                    data = os.read(self.controller, 65536)
                except OSError:
                    break
                self.text += data.decode(errors="replace")
            elif self.process.poll() is not None:
                break
        return bool(until) and until in self.text

    def drawn(self):
        """Each line as it was drawn: what stands between two returns of the cursor to the first column."""
        parts = re.split(r"[\r\n]|\x1b\[[0-9]*[A-F]|\x1b\[1?G", self.text)
        return [CONTROL.sub("", part) for part in parts]

    def last_line(self):
        """What the terminal shows in the line of the cursor at the end."""
        line = re.split(r"\n", self.text)[-1]
        line = re.split(r"\x1b\[[0-9]*K", line)[-1]
        return CONTROL.sub("", re.split(r"\r", line)[-1])

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.controller)


@contextlib.contextmanager
def terminal(command, environment):
    opened = Terminal(command, environment)
    try:
        yield opened
    finally:
        opened.close()


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
        server.stop()
        _time_limit(checks, watch, environment)


def _later(checks, server, watch, environment, address):
    with terminal(watch, environment) as watching:
        holds(checks, watching.read(8, "Trying again every"), "the watch waits for a server that is down", watching.text)
        said = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*does not", watching.text)
        holds(checks, said is not None, "it says so with the time", watching.text)
        watching.read(3)
        count = watching.text.count("Trying again every")
        holds(checks, count == 1, "it says so once", f"{count} times")
        holds(checks, watching.process.poll() is None, "it goes on")

        serve_at(server, address)
        holds(checks, watching.read(25, "The server answers again"), "it notices the server", watching.text[-500:])
        holds(checks, watching.read(5, "new secret not used yet"), "it shows how things stand", watching.text[-500:])
        server.process.terminate()
        server.process.wait(20)
        holds(checks, watching.read(15, "no answer for"), "it waits for a server that goes", watching.text[-500:])
        serve_at(server, address)
        checks.run("the server is back", eventually, server._ready, 20)
        watching.read(6)
        # What says a thing once may take more than a line; what is drawn again and again must not.
        redrawn = [line for line in watching.drawn() if "ends in" in line or "no answer for" in line]
        widest = max(len(line.rstrip()) for line in redrawn)
        holds(checks, widest <= COLUMNS, "no drawn line wraps", f"{widest} columns: {redrawn[-1]!r}")
        holds(checks, any("ends in 2" in line for line in redrawn), "the end is not cut off", redrawn[-1])

        os.write(watching.controller, b"\x03")
        watching.read(5)
        status = watching.process.wait(10)
        holds(checks, status in (130, -signal.SIGINT), "Ctrl-C ends it", f"status {status}")
        holds(checks, watching.last_line().strip() == "", "the cursor is left on a clean line", repr(watching.text[-120:]))
        holds(checks, "\x1b[?25l" not in watching.text or watching.text.rstrip().endswith("\x1b[?25h"),
              "the cursor is left visible", repr(watching.text[-120:]))


def _time_limit(checks, watch, environment):
    begun = time.monotonic()
    with terminal([*watch, "--timeout", "3s"], environment) as watching:
        watching.read(15, "was not reached within")
        status = watching.process.wait(10)
        took = time.monotonic() - begun
        holds(checks, status == 1 and 2 < took < 8, "a watch ends with its time", f"status {status} after {took:.1f} s")
        holds(checks, "was not reached within 3 s" in watching.text, "it says which time", watching.text[-300:])
    # Where nothing can be drawn there are lines.
    done = subprocess.run([*watch, "--timeout", "3s"], env=environment, capture_output=True, text=True, timeout=30)
    lines = done.stderr.splitlines()
    holds(checks, done.returncode == 1 and len(lines) == 2 and "\x1b" not in done.stderr and not done.stdout,
          "a watch in a pipeline says it in lines", done.stderr)
