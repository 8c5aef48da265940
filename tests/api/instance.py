"""A server of its own for each part, with things in it and one user for each role."""

import contextlib
import datetime
import pathlib
import secrets
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import OWNER, Checks, Server, Stopped, eventually, fresh_database, require  # noqa: E402, F401

ROLES = [
    "viewer", "secret_viewer", "secret_rotator", "application_manager", "operations_manager", "auditor", "owner",
]


@contextlib.contextmanager
def instance(arguments, log_format=None):
    """A server that is started and has an Owner; gone at the end with everything that it stored."""
    with contextlib.ExitStack() as stack:
        url = arguments.database_url
        if url:
            url = stack.enter_context(fresh_database(url))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-api-"))
        server = Server(arguments.binary, directory, url)
        server.database_url, server.directory = url, pathlib.Path(directory)
        stack.callback(server.stop)
        if log_format:
            server.environment |= {"CROSSFADE_LOG": "trace", "CROSSFADE_LOG_FORMAT": log_format}
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
