"""A file of the SQLite database is removed or replaced while the server uses it: no change is answered as made that is in
no file with a name."""

import os
import pathlib
import shutil
import subprocess
import time

from watched import holds, watched

FILES = ["", "-wal", "-shm"]


def play(checks, arguments):
    for name in ["-wal", "-shm"]:
        removed(checks, arguments, [name], pause=0)
    removed(checks, arguments, ["-wal", "-shm"], pause=3)
    replaced(checks, arguments)
    second_name(checks, arguments)


def second_name(checks, arguments):
    """SQLite keeps a log beside each name of a file, so two servers would overwrite each other's changes."""
    with watched(arguments) as server:
        server.stop()
        link = path(server) + ".second"
        os.link(path(server), link)
        command = [server.binary, "serve", "--listen", "127.0.0.1:0", *server.place]
        ended = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60)
        holds(checks, ended.returncode != 0 and "2 names" in ended.stderr,
              "a database file with a second name is not served", f"{ended.returncode} {ended.stderr}")
        os.unlink(link)
        server.start_again()
        server.changes(checks, "after the second name is removed")


def removed(checks, arguments, names, pause):
    what = f"{' and '.join(names)} removed, {pause} s"
    with watched(arguments) as server:
        # What was stored before is in the file itself.
        server.stop()
        server.start_again()
        for name in names:
            os.unlink(path(server) + name)
        time.sleep(pause)
        refused(checks, server, what)


def replaced(checks, arguments):
    with watched(arguments) as server:
        for name in FILES:
            shutil.copyfile(path(server) + name, path(server) + ".new" + name)
        for name in FILES:
            os.rename(path(server) + ".new" + name, path(server) + name)
        refused(checks, server, "all files replaced")


def path(server):
    return str(pathlib.Path(server.place[1]) / "crossfade.db")


def refused(checks, server, what):
    """The server refuses a rotation or has stopped, stops, and decides after the next start as it answered."""
    try:
        answer = server.change(compromised=True)
        holds(checks, answer.status_code in (503, 500) and "Nothing was changed" in answer.text,
              f"{what}: the rotation is refused", answer.text)
    except OSError:
        pass
    try:
        code = server.process.wait(10)
    except subprocess.TimeoutExpired:
        code = None
        server.kill()
    holds(checks, code == 1, f"{what}: the server stops", str(code))
    holds(checks, server.logged("was replaced"), f"{what}: the log says why")
    server.start_again()
    server.decides(checks, what)
    server.changes(checks, what)
