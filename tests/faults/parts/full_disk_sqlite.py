"""The disk of a SQLite database is full for a while, fails to write, and is mounted read-only."""

import pathlib
import resource
import tempfile
import threading
import time

from small_disk import SmallDisk
from watched import holds, watched

FULL = "The database disk is full"
FULL_SECONDS = 6
# Rotations that fit into what the log of the database has allocated already.
MOST_ROTATIONS = 2000


def play(checks, arguments):
    with tempfile.TemporaryDirectory(prefix="crossfade-faults-") as directory:
        with SmallDisk(pathlib.Path(directory) / "data", megabytes=64) as disk:
            with watched(arguments, directory=directory, binary=wrapper(arguments.binary, directory)) as server:
                fill_while_rotations_run(checks, server, disk)
                fail_to_write(checks, server)
                mount_read_only(checks, server, disk)


def wrapper(binary, directory):
    """The program, but a write beyond a limit on file sizes fails instead of ending it, and its log is not limited."""
    script = pathlib.Path(directory) / "crossfade"
    program = pathlib.Path(binary).resolve()
    script.write_text(f"#!/bin/bash\ntrap '' XFSZ\nexec {program} \"$@\" 2> >(exec cat >&2)\n")
    script.chmod(0o700)
    return script


def fill_while_rotations_run(checks, server, disk):
    what = "a full disk"
    answers, over = [], threading.Event()

    def rotate():
        for _ in range(MOST_ROTATIONS):
            if over.is_set():
                return
            answers.append(server.change())

    rotations = threading.Thread(target=rotate, daemon=True)
    rotations.start()
    disk.fill()
    end = time.monotonic() + 20
    while time.monotonic() < end and all(answer.status_code == 201 for answer in answers[-1:]):
        time.sleep(0.05)
    time.sleep(FULL_SECONDS)
    over.set()
    rotations.join(30)
    refused = [answer for answer in answers if answer.status_code != 201]
    holds(checks, refused, f"{what}: rotations fail at last")
    odd = [answer.text for answer in refused if answer.status_code != 503 or FULL not in answer.text]
    holds(checks, not odd, f"{what}: every refusal says so and that nothing was changed", str(odd[:2]))
    server.refuses_changes(checks, what, f"{FULL}. Nothing was changed.")
    server.tells(checks, what, "the database disk is full", "SQLITE_FULL (13)", "full")
    free = server.metric("crossfade_data_disk_free_bytes")
    holds(checks, free is not None and free < 1 << 20, f"{what}: a metric says that no space is left", str(free))
    found = server.doctor()
    holds(checks, found["changes"][0] == "FAIL" and "SQLITE_FULL" in found["changes"][1],
          f"{what}: doctor finds that no change can be stored", str(found.get("changes")))
    disk.free()
    server.changes_soon(checks, what)
    server.recovers(checks, what)
    # With room again, a start with a full disk: tokens go on, changes are told to fail.
    disk.fill()
    server.kill()
    server.start_again()
    server.decides(checks, "a start on a full disk")
    disk.free()
    server.changes_soon(checks, "a start on a full disk")


def fail_to_write(checks, server):
    what = "a disk that fails to write"
    log = pathlib.Path(server.place[1]) / "crossfade.db-wal"
    # Beyond this size a write fails, which SQLite takes for any other failure of the disk.
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        server.refuses_changes(checks, what, "The database failed. Nothing was changed.")
        server.tells(checks, what, "the database failed", "SQLITE_IOERR_WRITE", "failed")
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    server.changes_soon(checks, what)
    server.recovers(checks, what)
    holds(checks, log.exists(), f"{what}: the log of the database is still used")


def mount_read_only(checks, server, disk):
    what = "a disk that is mounted read-only"
    server.stop()
    disk.make_read_only()
    try:
        server.serve_fails(checks, what, "Read-only file system")
        found = server.doctor()
        failed = [name for name, (outcome, _) in found.items() if outcome == "FAIL"]
        holds(checks, "changes" in failed or "database" in failed, f"{what}: doctor finds it", str(found))
    finally:
        disk.make_read_only(False)
    server.start_again()
    server.changes(checks, what)
