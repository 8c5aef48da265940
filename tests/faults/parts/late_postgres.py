"""PostgreSQL that is down when a command starts: the cause is told soon, tries are told and bounded."""

import re
import socket
import subprocess
import tempfile
import threading
import time

from cluster import Cluster
from instance import Instance
from watched import holds

REFUSED = "connection refused"


class Said:
    """A command, and when each line of its stderr came."""

    def __init__(self, command, environment, stdin=""):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append((time.monotonic() - self.begun, line.strip()))

    def first(self, text, seconds):
        """When a line with this text came, or None."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for at, line in list(self.lines):
                if text in line:
                    return at
            time.sleep(0.02)
        return None

    def end(self):
        self.process.kill()
        self.process.wait(10)


def play(checks, arguments):
    with Cluster(arguments.postgres_bin) as postgres, tempfile.TemporaryDirectory() as directory:
        postgres.execute("CREATE DATABASE crossfade")
        server = Instance(arguments.binary, directory, postgres.url("crossfade"))
        postgres.stop("fast")
        serve = [server.binary, "serve", "--listen", "127.0.0.1:0", *server.place]
        host = f"127.0.0.1:{postgres.port}"

        _init_waits(checks, postgres, server, host)
        said = Said(serve, server.environment)
        at = said.first(REFUSED, 10)
        holds(checks, at is not None, "serve says why PostgreSQL does not answer", f"{at} {said.lines}")
        told = next((line for _, line in said.lines if REFUSED in line), "")
        holds(checks, host in told, "serve names the host", told)
        holds(checks, re.search(r"Attempt 1 of \d+\. Retrying in \d+ s", told) is not None,
              "serve tells its attempts", told)
        holds(checks, said.first("Attempt 2 of", 15) is not None, "serve tries again", str(said.lines))
        postgres.start()
        holds(checks, said.first("Serving http", 40) is not None, "serve starts once PostgreSQL does", str(said.lines))
        said.end()

        _stop_while_waiting(checks, postgres, serve, server.environment)
        _commands_fail_soon(checks, server, host)
        _no_answer(checks, server, directory)
        # Last, because it takes as long as all tries.
        said = Said(["timeout", "100", *serve], server.environment)
        status = said.process.wait(110)
        took = time.monotonic() - said.begun
        last = said.lines[-1][1] if said.lines else ""
        holds(checks, status == 1, "serve gives up in the end", f"status {status} after {took:.0f} s")
        holds(checks, "Gave up after 10 attempts" in last and host in last and REFUSED in last, "the end says all of it", last)


def _init_waits(checks, postgres, server, host):
    """As in a deployment that starts both at the same time."""
    init = [server.binary, "init", "--owner-email", "late@example.com", "--password-stdin", *server.place]
    said = Said(init, server.environment, "a lighthouse and an umbrella\n")
    at = said.first(REFUSED, 10)
    holds(checks, at is not None, "init says why PostgreSQL does not answer", f"{at} {said.lines}")
    told = next((line for _, line in said.lines if REFUSED in line), "")
    holds(checks, host in told and "Attempt 1 of 10" in told, "init names the host and tells its attempts", told)
    holds(checks, said.first("Attempt 2 of", 15) is not None, "init tries again", str(said.lines))
    postgres.start()
    holds(checks, said.process.wait(60) == 0, "init creates the Owner once PostgreSQL starts", str(said.lines))
    postgres.stop("fast")


def _stop_while_waiting(checks, postgres, serve, environment):
    postgres.stop("fast")
    said = Said(serve, environment)
    said.first(REFUSED, 10)
    said.process.terminate()
    # Its tries would go on for longer, and end with status 1.
    status = said.process.wait(20)
    holds(checks, status == 0, "a stop ends the waiting", f"status {status}")


def _commands_fail_soon(checks, server, host):
    for command in (
        ["token", "create", *server.place, "--user", "a@example.com", "--name", "n"],
        ["owner", "recover", *server.place, "--email", "a@example.com"],
        ["doctor", *server.place],
        ["backup", *server.place, "--output", f"{server.log}.backup"],
    ):
        begun = time.monotonic()
        done = subprocess.run([server.binary, *command], env=server.environment, capture_output=True, text=True, timeout=60)
        took = time.monotonic() - begun
        said = done.stdout + done.stderr
        name = " ".join(command[:2]) if command[1][0] != "-" else command[0]
        holds(checks, done.returncode == 1 and took < 10, f"{name} fails soon", f"{done.returncode} after {took:.1f} s")
        holds(checks, host in said and REFUSED in said, f"{name} names host and cause", said)


def _no_answer(checks, server, directory):
    """A host that does not even refuse, as behind a firewall that drops."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"postgres://crossfade@127.0.0.1:{silent.getsockname()[1]}/crossfade"
        said = Said([server.binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", f"{directory}/data",
                     "--database-url", url], server.environment)
        at = said.first("Waiting for PostgreSQL at 127.0.0.1:", 10)
        holds(checks, at is not None, "serve says which host it waits for", f"{at} {said.lines}")
        holds(checks, said.first("no response within 5 s", 20) is not None, "a try without an answer ends", str(said.lines))
        said.end()
