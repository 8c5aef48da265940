"""A PostgreSQL server that one part owns: it can be restarted, filled, and replaced by its standby."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg

from instance import free_port


class Cluster:
    """A server in a temporary directory, on a port of its own; a context manager."""

    def __init__(self, binaries, encoding="UTF8", settings=(), files=None):
        # Some of the programs may be linked into another directory, but not all.
        self.binaries = (binaries / "pg_ctl").resolve().parent
        self.encoding, self.settings = encoding, settings
        self.files = files or {}  # what stands in the data directory before the first start
        self.directory = tempfile.mkdtemp(prefix="crossfade-postgres-")
        self.port = free_port()
        # The server refuses to run as root.
        self.user = None
        if os.geteuid() == 0:
            self.user = next(name for name in ("postgres", "nobody") if _exists(name))
            shutil.chown(self.directory, self.user)

    def __enter__(self):
        self._run("initdb", "-D", self._data, "-U", "crossfade", "-A", "trust", "-E", self.encoding, "--no-sync",
                  "--locale", "C")
        for name, text in self.files.items():
            self.put(name, text)
        self.start()
        return self

    def put(self, name, text):
        """Writes a file into the data directory, which the server alone can read."""
        path = os.path.join(self._data, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        if self.user:
            shutil.chown(path, self.user)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self):
        return os.path.join(self.directory, "data")

    def url(self, database="postgres", user="crossfade"):
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}"

    def start(self):
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}", *self.settings]
        self._run("pg_ctl", "-D", self._data, "-l", os.path.join(self.directory, "log"), "-w",
                  "-o", " ".join(f"-c {option}" for option in options), "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop", check=False)

    def kill(self):
        """Ends all processes of the server as a crash of the machine would, without a word to anybody."""
        with open(os.path.join(self._data, "postmaster.pid")) as file:
            postmaster = int(file.readline())
        with open(f"/proc/{postmaster}/task/{postmaster}/children") as file:
            children = [int(child) for child in file.read().split()]
        for process in [postmaster, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def start_again(self, seconds=30):
        """Starts after a kill; a process that was just forked may take a moment to notice that its parent is gone."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.start()
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def standby(self):
        """A standby with its own port that follows this server; started, and not yet promoted."""
        standby = Cluster(self.binaries, self.encoding, self.settings)
        self._run("pg_basebackup", "-D", standby._data, "-R", "-h", "127.0.0.1", "-p", str(self.port),
                  "-U", "crossfade", "-c", "fast")
        standby.start()
        return standby

    def promote(self):
        self._run("pg_ctl", "-D", self._data, "-w", "promote")

    def execute(self, sql, database="postgres"):
        """Runs one statement outside a transaction and returns its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def _run(self, program, *arguments, check=True):
        # Output goes to a file: the server inherits it, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run([self.binaries / program, *arguments], user=self.user, cwd="/", stdout=output,
                                  stderr=output, stdin=subprocess.DEVNULL)
            if check and done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read()}")


def _exists(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
