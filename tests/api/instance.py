"""A server of its own for each part, with things in it and one user for each role."""

import contextlib
import datetime
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import frame  # noqa: E402, F401
from harness import OWNER, Server, end, eventually, free_port, fresh_database, require  # noqa: E402, F401

ROLES = [
    "viewer", "secret_viewer", "secret_rotator", "application_manager", "operations_manager", "auditor", "owner",
]


class Instance(Server):
    """A server that may be killed and started again, on another port."""

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def start_again(self):
        address = f"127.0.0.1:{free_port()}"
        self.url = f"{self.scheme}://{address}"
        self.environment["CROSSFADE_URL"] = self.url
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--listen", address, *self.place],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        eventually(self._ready, seconds=60)


@contextlib.contextmanager
def instance(arguments, log_format=None):
    """A server that is started and has an Owner; gone at the end with everything that it stored."""
    with contextlib.ExitStack() as stack:
        url = arguments.database_url
        if url:
            url = stack.enter_context(fresh_database(url))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-api-"))
        server = Instance(arguments.binary, directory, url)
        server.database_url, server.directory = url, pathlib.Path(directory)
        stack.callback(server.stop)
        if log_format:
            other = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-journal-"))
            server.journal = pathlib.Path(other) / "ends.journal"
            server.environment |= {
                "CROSSFADE_LOG": "trace", "CROSSFADE_LOG_FORMAT": log_format, "CROSSFADE_JOURNAL_FILE": str(server.journal),
            }
        server.start()
        yield server


def token_of(server, user, name="api"):
    """A new API token of a user."""
    return server._run(["token", "create", *server.place, "--user", user, "--name", name]).strip()


def program(server, role, **scope):
    """A program with one role; returns its account and a token of it."""
    user = server.api("POST", "/users", {"kind": "program", "name": f"{role} {secrets.token_hex(4)}"})
    server.api("POST", f"/users/{user['id']}/grants", {"role": role, **scope})
    return user, token_of(server, user["id"])


def hours_from_now(hours):
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def operations(document):
    """Every operation of the document, as its id, method and path."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
