"""A disk of a SQLite database that takes writes and fails to sync them: what is told, and what a kill then leaves."""

import pathlib
import subprocess
import tempfile

from instance import require
from ledger import agree
from watched import holds, watched

HERE = pathlib.Path(__file__).resolve().parent.parent
TIMES = 4  # every second one with a kill


def play(checks, arguments):
    with tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory:
        directory = pathlib.Path(directory)
        failing = directory / "failing"
        with watched(arguments, directory=directory, binary=wrapper(arguments.binary, directory, failing)) as server:
            for number in range(TIMES):
                what = "a disk that fails to sync" + (", then a kill" if number % 2 else "")
                failing.touch()
                answer = server.change()
                holds(checks, (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown"),
                      f"{what}: the outcome of a rotation is unknown", answer.text)
                server.tells(checks, what, "the database failed", "SQLITE_IOERR_FSYNC", "failed")
                if number % 2:
                    server.kill()
                failing.unlink()
                if number % 2:
                    server.start_again()
                checks.run(f"{what}: the change is there as a whole, or not at all", whole, server)
                server.changes_soon(checks, what)
            server.recovers(checks, "a disk that fails to sync")


def wrapper(binary, directory, failing):
    """The program with a library in front of the system's, in which a sync fails while a file is there."""
    library, script = directory / "failing_sync.so", directory / "crossfade"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "failing_sync.c", "-ldl"], check=True)
    program = pathlib.Path(binary).resolve()
    script.write_text(f"#!/bin/sh\nLD_PRELOAD={library} FAILING_SYNC={failing} exec {program} \"$@\"\n")
    script.chmod(0o700)
    return script


def whole(server):
    """Secrets, history and trail agree, and the current secret is the one that gets a token."""
    secrets = {one["id"]: one for one in server.pages(f"{server.path}/secrets")}
    history = [
        [one["id"], one["outgoing_secret"]["id"], one["incoming_secret"]["id"], one["transition_hours"], one["ended_as"]]
        for one in server.pages(f"{server.path}/rotations")
    ]
    agree(secrets, history)
    events = [one["target"] for one in server.pages("/audit-events") if one["action"] == "secret.rotated"]
    require(events == [one[0] for one in history], f"the trail has {events}, the history {history}")
    [current] = [name for name, one in secrets.items() if one["state"] == "current"]
    require(not history or history[0][2] == current, f"{current} is current, but the history is {history}")
    server.secret = server.api("POST", f"{server.path}/secrets/{current}/reveal", {"reason": "check"})["value"]
    require(server.token().status_code == 200, "the current secret gets no token")
