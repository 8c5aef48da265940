"""A terminal of 60 columns, on which a program runs that thinks somebody looks at it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

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
